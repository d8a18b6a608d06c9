"""What one router lets pass, as nftables text: the table that every router has, NAT or not, for IPv4 and IPv6.

Every rule that drops asks for `ct state new` or `invalid`, or comes behind one that lets the untracked pass: what the
harness leaves untracked always passes, and so does IPv6 neighbour discovery, which Linux never tracks. Whether a family
is forwarded at all is a sysctl (`harness.nat.ruleset.router_sysctls`).
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.model.nat import Egress, Filtering, Fragments, Hairpinning, NatBehaviour, Unsolicited
from harness.nat.policing import EXTRA_BYTES, bytes_a_second
from harness.nat.ports import FULL_MTU_BYTES, RouterPorts
from harness.nat.rules_words import chain, quoted

_OPEN_SIZE = 262144


def filter_table(b: NatBehaviour, ports: RouterPorts) -> Iterator[str]:
    """Yield the lines of `table inet filter_router`, indented, without the table's own braces."""
    yield from _sets(b)
    lan, wan = quoted(ports.lans), f'"{ports.wan}"'
    out, inward = f"iifname {lan} oifname {wan}", f"iifname {wan} oifname {lan}"
    yield "\tchain forward {"
    yield "\t\ttype filter hook forward priority filter; policy accept;"
    yield "\t\tct state untracked accept"
    if b.egress is Egress.NO_UDP:
        yield "\t\tmeta l4proto udp drop"
    if b.egress is Egress.TCP_443:
        yield f"\t\t{out} ct state new tcp dport != 443 drop"
        yield f"\t\t{out} ct state new meta l4proto != tcp drop"
    if b.translates:
        # What tracking does not understand would leave with its inside address.
        yield f"\t\toifname {wan} meta nfproto ipv4 ct state invalid drop"
    if b.session_cap is not None:
        for family, name in (("ip", "sessions_v4"), ("ip6", "sessions_v6")):
            yield f"\t\t{out} ct state new add @{name} {{ {family} saddr ct count over {b.session_cap} }} drop"
    yield from _open_pinholes(b, out)
    yield f"\t\t{inward} ct state new jump unsolicited"
    yield "\t}"
    yield from _unsolicited(b)
    yield from _input(b, ports)
    if b.mss_clamping and ports.line_mtu_bytes < FULL_MTU_BYTES:
        # What both ends say of themselves, of the baseline's connections too: a plain router clamps as well.
        size = "tcp option maxseg size"
        clamp = [
            f"{way} meta nfproto {version} tcp flags syn {size} > {mss} {size} set {mss}"
            for way in (out, inward)
            for version, mss in (("ipv4", ports.line_mtu_bytes - 40), ("ipv6", ports.line_mtu_bytes - 60))
        ]
        yield from chain("clamp", "filter hook forward priority mangle", *clamp)
    if b.udp_rate_mbit is not None:
        # Of what is forwarded alone, the baseline's too: it stands before the rule that lets the untracked pass.
        over = f"limit rate over {bytes_a_second(b.udp_rate_mbit)} bytes/second"
        over += f" burst {EXTRA_BYTES} bytes drop"
        police = [f"{way} meta l4proto udp {over}" for way in (out, inward)]
        yield from chain("police", "filter hook forward priority filter - 4", *police)
    if b.fragments is Fragments.DROP:
        # Before connection tracking puts them together (priority -400); any packet but a whole one, first pieces too.
        yield from chain(
            "fragments",
            "filter hook prerouting priority -450",
            "ip frag-off & 0x3fff != 0 drop",
            "exthdr frag exists drop",
        )


def _families(b: NatBehaviour) -> Iterator[tuple[str, str, Filtering]]:
    """Yield the address families that a firewall without translation filters, and how."""
    if b.ipv4 and not b.translates:
        yield "ip", "v4", b.filtering
    if b.ipv6_filtering is not None:
        yield "ip6", "v6", b.ipv6_filtering


def _sets(b: NatBehaviour) -> Iterator[str]:
    types = {"ip": "ipv4_addr", "ip6": "ipv6_addr"}
    if b.session_cap is not None:
        for family, name in (("ip", "sessions_v4"), ("ip6", "sessions_v6")):
            yield f"\tset {name} {{ type {types[family]}; flags dynamic; size 65536; }}"
    for family, version, filtering in _families(b):
        peer = {Filtering.EIF: "", Filtering.ADF: f" . {types[family]}"}.get(filtering)
        if peer is not None:
            key = f"inet_proto . {types[family]} . inet_service{peer}"
            yield f"\tset open_{version} {{ type {key}; flags dynamic,timeout; size {_OPEN_SIZE}; }}"


def _open_pinholes(b: NatBehaviour, out: str) -> Iterator[str]:
    for family, version, filtering in _families(b):
        peer = {Filtering.EIF: "", Filtering.ADF: f" . {family} daddr"}.get(filtering)
        if peer is None:
            continue
        for protocol, lifetime_s in (("udp", b.udp_lifetime_s), ("tcp", b.tcp_established_lifetime_s)):
            key = f"meta l4proto . {family} saddr . {protocol} sport{peer}"
            yield f"\t\t{out} meta l4proto {protocol} update @open_{version} {{ {key} timeout {lifetime_s}s }}"


def _unsolicited(b: NatBehaviour) -> Iterator[str]:
    """Yield the verdict on a new flow from outside to an inside address; after translation, where there is one."""
    yield "\tchain unsolicited {"
    if b.translates:
        yield "\t\tmeta nfproto ipv4 ct status dnat accept"
    for family, version, filtering in _families(b):
        if filtering is Filtering.NONE:
            yield f"\t\tmeta nfproto {'ipv4' if family == 'ip' else 'ipv6'} accept"
        peer = {Filtering.EIF: "", Filtering.ADF: f" . {family} saddr"}.get(filtering)
        if peer is not None:
            for protocol in ("udp", "tcp"):
                key = f"meta l4proto . {family} daddr . {protocol} dport{peer}"
                yield f"\t\tmeta l4proto {protocol} {key} @open_{version} accept"
    yield from (f"\t\t{rule}" for rule in _reaction(b))
    yield "\t}"


def _reaction(b: NatBehaviour) -> Iterator[str]:
    if b.unsolicited is Unsolicited.REJECT:
        yield "meta l4proto tcp reject with tcp reset"
        yield "reject"
    else:
        yield "drop"


def _input(b: NatBehaviour, ports: RouterPorts) -> Iterator[str]:
    """Yield the rules for what reaches the router itself.

    A packet for a mapping that does not pass the filter ends here. It must not be let in: its tracking entry would
    take the port away from the inside host's own flow to that peer (`poisons` does just this).
    """
    plain = not b.translates and b.filtering is Filtering.NONE and b.ipv6_filtering in (None, Filtering.NONE)
    if plain or b.unsolicited is Unsolicited.POISONS:
        return
    yield "\tchain input {"
    yield "\t\ttype filter hook input priority filter; policy accept;"
    for rule in _reaction(b):
        yield f'\t\tiifname "{ports.wan}" ct state new {rule}'
    if b.translates and b.hairpinning is not Hairpinning.OFF:
        # A hairpin to no mapping must not be answered by the router itself.
        yield f"\t\tiifname {quoted(ports.lans)} ip daddr {{ {', '.join(ports.pool(b))} }} ct state new drop"
    elif b.translates:
        yield f"\t\tiifname {quoted(ports.lans)} ip daddr {{ {', '.join(ports.pool(b))} }} drop"
    yield "\t}"
