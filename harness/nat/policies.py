"""What a network's operator lets pass, as nftables text next to a router's own rules. Pure.

A policy stands in a table of its own, in front of the router's filter; flows that are open already obey it as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.nat.ports import RouterPorts
from harness.nat.rules_words import quoted

TABLE = "inet policy_of_operator"
PORTAL_PORT = 8
_RULE = re.compile(r"(udp|tcp|icmp|all)(?:/(\d{1,5})(?:-(\d{1,5}))?)?")


@dataclass(frozen=True)
class Traffic:
    """Traffic of a protocol (`udp`, `tcp`, `icmp`, `all`), of UDP and TCP perhaps to these ports outside alone."""

    protocol: str
    first_port: int | None = None
    last_port: int | None = None


def parse_traffic(text: str) -> Traffic:
    """Read `udp`, `icmp`, `all`, `tcp/443` or `udp/1000-2000`.

    Raises:
        ValueError: it is none of these.
    """
    found = _RULE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no traffic such as udp, icmp, all, tcp/443 or udp/1000-2000")
    protocol, first, last = found.groups()
    if first is None:
        return Traffic(protocol)
    ports = int(first), int(last or first)
    if protocol not in {"udp", "tcp"}:
        raise ValueError(f"{text!r}: {protocol} has no ports")
    if not 1 <= ports[0] <= ports[1] <= 65535:
        raise ValueError(f"{text!r}: ports are 1 to 65535, the smaller first")
    return Traffic(protocol, *ports)


def allow_only(ports: RouterPorts, traffic: Sequence[Traffic]) -> str:
    """Render a policy by which hosts inside reach nothing but this; errors about it come back."""
    rules = [f"{rule} accept" for one in traffic for rule in _matches(ports, one)]
    return _table([*rules, *(f"{way} drop" for way in _ways(ports))])


def deny(ports: RouterPorts, traffic: Sequence[Traffic]) -> str:
    """Render a policy by which hosts inside reach everything but this."""
    return _table([f"{rule} drop" for one in traffic for rule in _matches(ports, one)])


def captive_portal(ports: RouterPorts) -> str:
    """Render a policy by which names are resolved, and web pages answered by the router itself; all else is dropped."""
    dns = [f"{rule} accept" for name in ("udp", "tcp") for rule in _matches(ports, Traffic(name, 53, 53))]
    redirect = [
        "\tchain portal {",
        "\t\ttype nat hook prerouting priority dstnat - 5; policy accept;",
        f"\t\tiifname {quoted(ports.lans)} tcp dport {{ 80, 443 }} redirect to :{PORTAL_PORT}",
        "\t}",
    ]
    return _table([*dns, *(f"{way} drop" for way in _ways(ports))], redirect)


def no_policy() -> str:
    """Render what takes a policy away, whether there is one or not."""
    return f"table {TABLE}\ndelete table {TABLE}\n"


def _ways(ports: RouterPorts) -> tuple[str, str]:
    lan, wan = quoted(ports.lans), f'"{ports.wan}"'
    return f"iifname {lan} oifname {wan}", f"iifname {wan} oifname {lan}"


def _matches(ports: RouterPorts, traffic: Traffic) -> Iterator[str]:
    """Both directions of some traffic: ports are those of the outside, wherever a packet comes from."""
    for way, end in zip(_ways(ports), ("dport", "sport"), strict=True):
        if traffic.protocol == "all":
            yield way
        elif traffic.protocol == "icmp":
            yield f"{way} meta l4proto {{ icmp, icmpv6 }}"
        elif traffic.first_port is None:
            yield f"{way} meta l4proto {traffic.protocol}"
        else:
            yield f"{way} {traffic.protocol} {end} {traffic.first_port}-{traffic.last_port}"


def _table(rules: Sequence[str], further: Sequence[str] = ()) -> str:
    lines = [
        f"table {TABLE} {{",
        "\tchain forward {",
        "\t\ttype filter hook forward priority filter - 3; policy accept;",
        "\t\tct state untracked accept",
        "\t\tmeta l4proto { icmp, icmpv6 } ct state related accept",
        *(f"\t\t{rule}" for rule in rules),
        "\t}",
        *further,
        "}",
    ]
    return no_policy() + "\n".join(lines) + "\n"
