"""Whether what refreshes a mapping (RFC 4787 section 4.3) keeps it alive, together with its filter.

A session may outlive its mapping: connection tracking keeps the one, a router's tables the other. So each of these
tests keeps a mapping in use past its lifetime, and then sends from a new endpoint.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from harness.errors import LabError
from harness.model.nat import Filtering, Mapping, NatBehaviour, Refresh
from harness.nat import stun
from harness.nat.discovery_setup import Ask, DiscoverySetup
from harness.nat.discovery_tcp import Call, call, connected, hang_up, listener
from harness.nat.packet import Endpoint
from harness.nat.responder import Stranger
from harness.nat.wire import Vantage, port_of

Step = tuple[float, Callable[[], None]]

# Of the lifetime: when mappings are refreshed, and when they are looked at. Without the one they are gone by the other.
REFRESH_AT, LOOK_AT = 0.6, 1.3


def visitors(ground: DiscoverySetup, filtering: Filtering) -> Vantage | None:
    """Return a place from which the filter admits an endpoint that was never contacted; None: there is none."""
    match filtering:
        case Filtering.EIF | Filtering.NONE:
            return ground.strangers[0]
        case Filtering.ADF:
            return Vantage(ground.strangers[0].pid, ground.primary.address)
        case Filtering.APDF:
            return None


def elsewhere(ground: DiscoverySetup, mapping: Mapping) -> Endpoint | None:
    """Return a second server towards which the mapping must be that towards the primary one; None: there is none."""
    match mapping:
        case Mapping.EIM:
            return ground.responder.endpoints[1][0]
        case Mapping.ADM:
            return ground.responder.endpoints[0][1]
        case Mapping.NONE | Mapping.APDM:
            return None


@dataclass
class UdpRefreshing:
    """One mapping is refreshed from inside, one from outside; where strangers come in, the same with their flows."""

    ground: DiscoverySetup
    behaviour: NatBehaviour
    lifetime_s: float
    _asked: list[tuple[Ask, Endpoint]] = field(default_factory=list)
    _mapped: dict[socket.socket, Endpoint] = field(default_factory=dict)
    _guests: list[socket.socket] = field(default_factory=list)

    def steps(self) -> Iterator[Step]:
        """Yield what to do when, in seconds from now; opens the mappings."""
        ground = self.ground
        self.outward, self.inward, self.answering, self.visited = (ground.open() for _ in range(4))
        for bound in (self.outward, self.inward, self.answering, self.visited):
            self._mapped[bound] = ground.mapped(bound)
        refresh_at, look_at = REFRESH_AT * self.lifetime_s, LOOK_AT * self.lifetime_s
        yield refresh_at, lambda: self._out(self.outward, ground.primary)
        yield refresh_at, lambda: self._from_primary(self.inward, b"refresh")
        place = visitors(ground, self.behaviour.filtering)
        if place is not None and self.behaviour.translates:
            first = self._guest(place)
            for bound in (self.answering, self.visited):
                first.send(self._mapped[bound], b"hello")
            yield refresh_at, lambda: self._out(self.answering, first.endpoint)
            yield refresh_at, lambda: first.send(self._mapped[self.visited], b"refresh")
            yield look_at, lambda: first.send(self._mapped[self.visited], b"last")
        for bound in (self.outward, self.inward):
            yield look_at, lambda bound=bound: self._from_primary(bound, b"last")  # type: ignore[misc]
        if place is not None:
            second = self._guest(place)
            for bound in (self.outward, self.inward, self.answering, self.visited):
                yield look_at, lambda bound=bound: second.send(self._mapped[bound], b"somebody new")  # type: ignore[misc]
        other = elsewhere(ground, self.behaviour.mapping)
        if other is not None:
            yield look_at, lambda: self._ask(self.outward, other)
            # A stranger's flow refreshes the mapping towards itself; only with EIM that is the one towards all.
            if self._guests and self.behaviour.mapping is Mapping.EIM:
                yield look_at, lambda: self._ask(self.answering, other)

    def result(self) -> Refresh:
        """Return which directions refresh.

        Raises:
            LabError: outbound packets do not, or something else than the session was not refreshed with it.
        """
        if not self._heard(self.outward, b"last"):
            raise LabError("outbound packets did not keep a UDP mapping alive (RFC 4787 REQ-6)")
        refresh = Refresh.BOTH if self._heard(self.inward, b"last") else Refresh.OUTBOUND
        self.ground.wait_for([asked for asked, _ in self._asked])
        if any(asked.mapped != before for asked, before in self._asked):
            raise LabError("a UDP mapping in use became another one after its lifetime")
        kept: dict[str, tuple[socket.socket, bytes, bool]] = {}
        if self._guests:
            kept["the filter of a mapping that outbound packets refresh"] = (self.outward, b"somebody new", True)
        if len(self._guests) > 1:
            both = refresh is Refresh.BOTH
            kept["a mapping whose owner answers a stranger"] = (self.answering, b"somebody new", True)
            kept["a stranger's flow that only he refreshes"] = (self.visited, b"last", both)
            if self.behaviour.filtering is Filtering.EIF:
                kept["a mapping that only strangers refresh"] = (self.visited, b"somebody new", both)
                kept["a mapping that inbound packets refresh"] = (self.inward, b"somebody new", both)
        for what, (bound, data, alive) in kept.items():
            if self._heard(bound, data) != alive:
                raise LabError(f"{what} was {'not ' if alive else ''}there after the lifetime")
        return refresh

    def _guest(self, place: Vantage) -> Stranger:
        made = Stranger(self.ground.wire, place)
        self._guests.append(made.socket)
        return made

    def _out(self, bound: socket.socket, to: Endpoint) -> None:
        bound.sendto(b"refresh", (to.address, to.port))

    def _from_primary(self, bound: socket.socket, data: bytes) -> None:
        self.ground.responder.send(0, 0, data, self._mapped[bound])

    def _ask(self, bound: socket.socket, other: Endpoint) -> None:
        self._asked.append((self.ground.send(bound, other), self._mapped[bound]))

    def _heard(self, bound: socket.socket, data: bytes) -> bool:
        return any(received == data for received, _ in self.ground.inbox[bound])


@dataclass
class TcpRefreshing:
    """Connections from inside and from outside, used past the lifetime; then a new endpoint calls."""

    ground: DiscoverySetup
    behaviour: NatBehaviour
    lifetime_s: float
    _calls: list[Call] = field(default_factory=list)
    _again: list[tuple[Endpoint | None, Call]] = field(default_factory=list)

    def steps(self) -> Iterator[Step]:
        """Yield what to do when, in seconds from now; opens the connections."""
        ground, inside = self.ground, self.ground.inside[0]
        self.own, self.host = (connected(ground, inside, ground.primary) for _ in range(2))
        # One that strangers alone use, and nobody looks at from outside: that would make it known again.
        self.lent = connected(ground, inside, ground.primary)
        ports = {id(made): port_of(made.bound) for made in (self.own, self.lent)}
        refresh_at, look_at = REFRESH_AT * self.lifetime_s, LOOK_AT * self.lifetime_s
        yield refresh_at, lambda: self._use(self.own)
        place = visitors(ground, self.behaviour.filtering)
        if place is not None:
            for made in (self.own, self.host):
                listener(ground, inside, port_of(made.bound))
            guest = self._call(place, self.host)
            ground.until(lambda: guest.state != "waiting")
            yield refresh_at, lambda: self._use(guest)
            listener(ground, inside, ports[id(self.lent)])
            other_guest = self._call(place, self.lent)
            ground.until(lambda: other_guest.state != "waiting")
            yield refresh_at, lambda: self._use(other_guest)
            for made in (self.own, self.host):
                yield look_at, lambda made=made: self._calls.append(self._call(place, made))  # type: ignore[misc]
        other = elsewhere(ground, self.behaviour.mapping)
        if other is not None:
            yield look_at, lambda: self._call_out(other, self.own, ports[id(self.own)])
            # A stranger's flow refreshes the mapping towards itself; only with EIM that is the one towards all.
            if place is not None and self.behaviour.mapping is Mapping.EIM:
                yield look_at, lambda: self._call_out(other, self.lent, ports[id(self.lent)])

    def check(self) -> None:
        """Raise LabError where a mapping in use, or its filter, ended with its lifetime."""
        if any(again != made.mapped for again, made in self._again):
            raise LabError("a TCP mapping in use became another one after its lifetime")
        self.ground.until(lambda: all(made.state != "waiting" for made in self._calls))
        for made, whose in zip(self._calls, ("from inside", "from outside"), strict=False):
            if made.state != "open":
                raise LabError(f"a TCP mapping used by a connection {whose} was not there after the lifetime")
        hang_up(self.ground, *self._calls)

    def _call(self, place: Vantage, made: Call) -> Call:
        assert made.mapped is not None
        return call(self.ground, place, made.mapped)

    def _use(self, made: Call) -> None:
        if made.state != "open":
            raise LabError(f"a stranger's TCP call to a mapping that lets him in: {made.state}")
        try:
            made.bound.send(stun.Request(self.ground.transaction()).encode())
        except OSError as error:
            raise LabError(f"a TCP connection ended within its lifetime: {error.strerror}") from error

    def _call_out(self, other: Endpoint, of: Call, port: int) -> None:
        made = connected(self.ground, self.ground.inside[0], other, port)
        self._again.append((made.mapped, of))
        hang_up(self.ground, made)
