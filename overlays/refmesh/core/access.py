"""Access rules: who may open what to whom. Default deny, enforced by the sender and again by the receiver.

A rule of the network document, which the authority signs:

    {"from": "web", "to": "db", "protocol": "tcp", "ports": "5432,8000-8010"}

`from` and `to` are a member's name, a group of its certificate, or `*`; `protocol` is tcp, udp, icmp or any (the
default, which also stands for all other protocols); `ports` are destination ports, all of them if absent. A rule lets
its `from` open; answers come back by the flow table: packets with the opener's ports turned round, echo replies, and
ICMP errors about what was sent, while the flow is in use. A rule without ports and protocol, both ways, costs nothing
per packet: the peer is then `open`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from overlays.refmesh.core import headers
from overlays.refmesh.core.headers import ERROR, OTHER, REPLY, REQUEST, Seen
from overlays.refmesh.errors import CredentialError

FLOW_LIFETIME_S = {6: 7440.0, 17: 300.0}
"""Seconds without a packet after which a flow is forgotten: RFC 5382 REQ-5 for TCP, RFC 4787 REQ-5 for UDP."""
OTHER_LIFETIME_S = 60.0
MAX_FLOWS = 4096
"""Flows that one side has opened to the other, the last ones used: who opens more forgets his own older ones."""
REFRESH_S = 1.0
MAX_PAIRS = 65536
"""Pairs of members of which a hub remembers what the rules say."""
_PROTOCOLS = {"any": (), "icmp": (1, 58), "tcp": (6,), "udp": (17,)}
_FIELDS = {"from", "to", "protocol", "ports"}

Flow = tuple[int, int, int]
"""Protocol, our port, the peer's port; of ICMP echo its identifier, and -1 on the side that answers."""


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
    """Return the rules of a network document; CredentialError names the number and field of one that is wrong."""
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
        self._ours, self._theirs = Flows(), Flows()

    def inherit(self, before: Access) -> None:
        """Take over the flows of rules that were in force before: those that may still be opened go on.

        Else a server that speaks first after a pause would be cut off by any change of the rules, whatever it is about.
        """
        self._ours = before._ours.kept(lambda flow: _allowed(self._out, flow[0], flow[2]))
        self._theirs = before._theirs.kept(lambda flow: _allowed(self._in, flow[0], flow[1]))

    def outbound(self, packet: bytes, now: float) -> bool:
        """Whether a packet of ours may go to the peer."""
        seen = headers.read(packet)
        return seen is not None and self._passes(seen, now, ours=True)

    def inbound(self, packet: bytes, now: float) -> bool:
        """Whether a packet of the peer may come in."""
        seen = headers.read(packet)
        return seen is not None and self._passes(seen, now, ours=False)

    def _passes(self, seen: Seen, now: float, *, ours: bool) -> bool:
        opened, answered = (self._ours, self._theirs) if ours else (self._theirs, self._ours)
        if seen.kind == ERROR:
            # What it is about was sent the other way.
            flow = _flow(seen.about, ours=not ours) if seen.about is not None else None
            return flow is not None and (answered.live(flow, now) or opened.live(flow, now))
        if seen.kind == REPLY:
            return answered.live(_flow(seen, ours=not ours), now)
        if seen.kind == OTHER:
            return self._opens(seen, ours=ours)
        flow = _flow(seen, ours=ours)
        if opened.live(flow, now) or (seen.kind != REQUEST and answered.live(flow, now)):
            return True
        if self._opens(seen, ours=ours):
            opened.open(flow, now)
            return True
        return False

    def _opens(self, seen: Seen, *, ours: bool) -> bool:
        return _allowed(self._out if ours else self._in, seen.protocol, seen.destination)


class Openness:
    """Between which members everything may pass both ways, as one who is neither of them sees it."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = tuple(rule for rule in rules if rule.everything)
        self._known: dict[tuple[Sequence[str], Sequence[str]], bool] = {}

    def between(self, one: tuple[str, ...], other: tuple[str, ...]) -> bool:
        """Whether all may pass; `one` and `other`: name and groups of each."""
        found = self._known.get((one, other))
        if found is None:
            found = self._way(one, other) and self._way(other, one)
            if len(self._known) >= MAX_PAIRS:
                self._known.clear()
            self._known[one, other] = found
        return found

    def _way(self, source: Collection[str], target: Collection[str]) -> bool:
        return any(_is(rule.source, source) and _is(rule.target, target) for rule in self._rules)


class Flows:
    """The flows that one side has opened. No step takes longer for there being many."""

    def __init__(self) -> None:
        self._until_s: dict[Flow, float] = {}

    def __len__(self) -> int:
        return len(self._until_s)

    def kept(self, wanted: Callable[[Flow], bool]) -> Flows:
        """Return those of the flows that are still wanted, in their order."""
        found = Flows()
        found._until_s = {flow: until_s for flow, until_s in self._until_s.items() if wanted(flow)}
        return found

    def open(self, flow: Flow, now: float) -> None:
        """Add a flow, in the place of the one that has been unused for longest where there is no room."""
        self._until_s.pop(flow, None)
        if len(self._until_s) >= MAX_FLOWS:
            del self._until_s[next(iter(self._until_s))]
        self._until_s[flow] = now + FLOW_LIFETIME_S.get(flow[0], OTHER_LIFETIME_S)

    def live(self, flow: Flow, now: float) -> bool:
        """Whether a flow is there and in use; asking is using it."""
        until_s = self._until_s.get(flow)
        if until_s is None or until_s <= now:
            return False
        if until_s - now < FLOW_LIFETIME_S.get(flow[0], OTHER_LIFETIME_S) - REFRESH_S:
            self.open(flow, now)
        return True


def _allowed(rules: Sequence[Rule], protocol: int, port: int) -> bool:
    return any(rule.allows(protocol, port) for rule in rules)


def _flow(seen: Seen, *, ours: bool) -> Flow:
    """Return the flow of a packet of ours or the peer's; of an echo message: of a request, ours or the peer's."""
    if seen.kind in (REQUEST, REPLY):
        return (seen.protocol, seen.source, -1) if ours else (seen.protocol, -1, seen.source)
    return (seen.protocol, *((seen.source, seen.destination) if ours else (seen.destination, seen.source)))


def _is(who: str, names: Collection[str]) -> bool:
    return who == "*" or who in names
