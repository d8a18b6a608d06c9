"""One router's behaviour as a complete nft script and the sysctls that go with it. Pure: loads nothing.

Loading the script again replaces the tables and so forgets all mappings; connection tracking's own entries are not the
script's to flush (`harness/nat/events.py` does both).
"""

from __future__ import annotations

from harness.model.nat import NatBehaviour
from harness.nat import portmap, prefixes, rules_nat
from harness.nat.ports import RouterPorts
from harness.nat.rules_filter import filter_table

__all__ = ["RouterPorts", "render_ruleset", "router_sysctls"]

TABLES = (rules_nat.TABLE, prefixes.TABLE, portmap.TABLE, "inet filter_router")


def render_ruleset(behaviour: NatBehaviour, ports: RouterPorts, *, seed: int) -> str:
    """Return the nft script that makes a router behave so.

    Args:
        seed: decides what is arbitrary but stable: the pairing of inside and pool addresses, where a sequence starts.
            Random ports come from the kernel's generator, which takes no seed.

    Raises:
        ValueError: the router has too few addresses for the pool or for the subscribers' port blocks, or not the one
            network whose prefix it is to exchange.
    """
    lines = [f"# {behaviour.axes_label}"]
    for table in TABLES:
        # Declared first, so that deleting it works the first time as well.
        lines += [f"table {table}", f"delete table {table}"]
    if behaviour.translates:
        lines += [f"table {rules_nat.TABLE} {{", *rules_nat.nat_table(behaviour, ports, seed), "}"]
    if behaviour.port_mapping:
        lines += [f"table {portmap.TABLE} {{", *portmap.port_mapping_table(ports), "}"]
    if behaviour.nptv6 is not None:
        lines += [f"table {prefixes.TABLE} {{", *prefixes.prefix_table(behaviour, ports), "}"]
    lines += ["table inet filter_router {", *filter_table(behaviour, ports), "}"]
    return "\n".join(lines) + "\n"


def router_sysctls(behaviour: NatBehaviour) -> dict[str, str]:
    """Return the router's sysctls, by dotted name; all are per network namespace.

    Session entries live as long as mappings do, so that whichever is asked gives the same answer.
    """
    udp_s, established_s = str(behaviour.udp_lifetime_s), str(behaviour.tcp_established_lifetime_s)
    transitory_s = str(behaviour.tcp_transitory_lifetime_s)
    conntrack = "net.netfilter.nf_conntrack"
    return {
        "net.ipv4.ip_forward": "1" if behaviour.ipv4 else "0",
        "net.ipv6.conf.all.forwarding": "0" if behaviour.ipv6_filtering is None else "1",
        # A hairpinned packet leaves where it came in: neither spoofed nor worth a redirect.
        "net.ipv4.conf.all.rp_filter": "0",
        "net.ipv4.conf.default.rp_filter": "0",
        "net.ipv4.conf.all.send_redirects": "0",
        "net.ipv4.conf.default.send_redirects": "0",
        f"{conntrack}_udp_timeout": udp_s,
        f"{conntrack}_udp_timeout_stream": udp_s,
        f"{conntrack}_icmp_timeout": str(behaviour.icmp_lifetime_s),
        **{f"{conntrack}_tcp_timeout_{state}": established_s for state in _ESTABLISHED_STATES},
        **{f"{conntrack}_tcp_timeout_{state}": transitory_s for state in _TRANSITORY_STATES},
    }


_TRANSITORY_STATES = (
    "syn_sent",
    "syn_recv",
    "fin_wait",
    "close_wait",
    "last_ack",
    "time_wait",
    "close",
)
# Of an established connection, whether or not its last data were acknowledged.
_ESTABLISHED_STATES = ("established", "unacknowledged", "max_retrans")
