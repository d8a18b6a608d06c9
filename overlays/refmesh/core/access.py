"""Access rules: who may open what to whom. Default deny, enforced by the sender and again by the receiver.

A rule of the network document, which the authority signs:

    {"from": "web", "to": "db", "protocol": "tcp", "ports": "5432,8000-8010"}

`from` and `to` are a member's name, a group of its certificate, or `*`; `protocol` is tcp, udp, icmp or any (the
default, which also stands for all other protocols); `ports` are destination ports, all of them if absent. A rule lets
its `from` open; answers come back by the flow table: packets with the opener's ports turned round, while the flow is
in use. A rule without ports and protocol, both ways, costs nothing per packet: the peer is then `open`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from overlays.refmesh.errors import CredentialError

FLOW_LIFETIME_S = {6: 7440.0, 17: 300.0}
"""Seconds without a packet after which a flow is forgotten: RFC 5382 REQ-5 for TCP, RFC 4787 REQ-5 for UDP."""
OTHER_LIFETIME_S = 60.0
MAX_FLOWS = 65536
_PROTOCOLS = {"any": (), "icmp": (1, 58), "tcp": (6,), "udp": (17,)}
_FIELDS = {"from", "to", "protocol", "ports"}
_ICMP = (1, 58)

Flow = tuple[int, int, int]
"""Protocol, our port, the peer's port; for ICMP echo both are its identifier."""


@dataclass(frozen=True)
class Rule:
    """One rule, ready to be asked."""

    source: str
    target: str
    protocols: tuple[int, ...]
    ports: tuple[range, ...]

    @property
    def everything(self) -> bool:
        """Whether it allows all there is between the two."""
        return not self.protocols and not self.ports

    def allows(self, protocol: int, port: int) -> bool:
        """Whether a packet to this destination port may open a flow."""
        return (not self.protocols or protocol in self.protocols) and (
            not self.ports or any(port in ports for ports in self.ports)
        )


def parse_rules(rules: Sequence[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """The rules of a network document; CredentialError names the number and field of one that is wrong."""
    parsed = []
    for number, rule in enumerate(rules, 1):
        if not isinstance(rule, Mapping):
            raise CredentialError(f"rule {number}: must be a mapping of from, to, protocol and ports")
        unknown = rule.keys() - _FIELDS
        if unknown:
            raise CredentialError(f"rule {number}: {min(map(str, unknown))}: unknown field")
        for field in ("from", "to"):
            if not isinstance(rule.get(field), str) or not rule[field]:
                raise CredentialError(f"rule {number}: {field}: must be a name, a group or *")
        protocol = rule.get("protocol", "any")
        if not isinstance(protocol, str) or protocol not in _PROTOCOLS:
            raise CredentialError(f"rule {number}: protocol: must be one of {', '.join(_PROTOCOLS)}, not {protocol!r}")
        ports = _parse_ports(str(rule.get("ports", "")), number)
        if ports and protocol not in ("tcp", "udp"):
            raise CredentialError(f"rule {number}: ports: need protocol tcp or udp")
        parsed.append(Rule(rule["from"], rule["to"], _PROTOCOLS[protocol], ports))
    return tuple(parsed)


def _parse_ports(text: str, number: int) -> tuple[range, ...]:
    ranges = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        low, dash, high = part.partition("-")
        first, last = low.strip(), (high if dash else low).strip()
        if not (first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last) < 65536):
            raise CredentialError(f"rule {number}: ports: {part!r} is no port and no range of ports")
        ranges.append(range(int(first), int(last) + 1))
    return tuple(ranges)


class Access:
    """What may pass between us and one peer."""

    def __init__(self, rules: Sequence[Rule], own: Collection[str], peer: Collection[str]) -> None:
        """`own` and `peer`: name and groups of each side."""
        self._out = tuple(rule for rule in rules if _is(rule.source, own) and _is(rule.target, peer))
        self._in = tuple(rule for rule in rules if _is(rule.source, peer) and _is(rule.target, own))
        self.open = any(rule.everything for rule in self._out) and any(rule.everything for rule in self._in)
        """Everything may pass both ways; packets need not be looked at."""
        self.closed = not self._out and not self._in
        self._flows: dict[Flow, float] = {}

    def outbound(self, packet: bytes, now: float) -> bool:
        """Whether a packet of ours may go to the peer."""
        found = _ports(packet)
        if found is None:
            return False
        protocol, source, destination = found
        return self._passes((protocol, source, destination), self._out, destination, now)

    def inbound(self, packet: bytes, now: float) -> bool:
        """Whether a packet of the peer may come in."""
        found = _ports(packet)
        if found is None:
            return False
        protocol, source, destination = found
        return self._passes((protocol, destination, source), self._in, destination, now)

    def _passes(self, flow: Flow, openers: tuple[Rule, ...], port: int, now: float) -> bool:
        if self._flows.get(flow, now) <= now and not any(rule.allows(flow[0], port) for rule in openers):
            return False
        if flow not in self._flows and len(self._flows) >= MAX_FLOWS:
            self._flows = {flow: until for flow, until in self._flows.items() if until > now}
            if len(self._flows) >= MAX_FLOWS:
                return False
        self._flows[flow] = now + FLOW_LIFETIME_S.get(flow[0], OTHER_LIFETIME_S)
        return True


def _is(who: str, names: Collection[str]) -> bool:
    return who == "*" or who in names


def _ports(packet: bytes) -> tuple[int, int, int] | None:  # noqa: PLR0911 - one `return` a kind of packet
    """(protocol, source port, destination port) of an IP packet; None when it has none that we can find.

    A later fragment carries no ports, so only `open` lets fragments pass: a tunnel with its MTU set right makes none.
    """
    if not packet:
        return None
    if packet[0] >> 4 == 4:
        if len(packet) < 20 or (packet[6] << 8 | packet[7]) & 0x1FFF:
            return None
        protocol, start = packet[9], (packet[0] & 15) * 4
    elif packet[0] >> 4 == 6 and len(packet) >= 40:
        protocol, start = packet[6], 40
    else:
        return None
    if protocol in (6, 17):
        if len(packet) < start + 4:
            return None
        ports = packet[start : start + 4]
        return protocol, ports[0] << 8 | ports[1], ports[2] << 8 | ports[3]
    if protocol in _ICMP:
        if len(packet) < start + 8:
            return None
        # Echo request and reply of one identifier are one flow; so is whatever else ICMP says.
        number = packet[start + 4] << 8 | packet[start + 5]
        return protocol, number, number
    return protocol, 0, 0
