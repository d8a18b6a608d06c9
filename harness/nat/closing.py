"""How long a TCP mapping outlives connections that close late, and a caller whom nobody answers (RFC 5382 REQ-5).

Each of these closes some time after it was last used, so that the time from the closing on is told from that before.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.errors import LabError
from harness.model.nat import Filtering, Mapping, NatBehaviour
from harness.nat.discovery_setup import DiscoverySetup
from harness.nat.discovery_tcp import Call, call, connected, hang_up
from harness.nat.packet import Endpoint
from harness.nat.refreshing import Step, elsewhere, visitors
from harness.nat.wire import Vantage, port_of

# When connections are closed, of the longer lifetime, and when their mappings are looked at afterwards, of the
# transitory one. The sum is more than either.
_CLOSE_AT, _ALIVE_AFTER, _DEAD_AFTER = 0.6, 0.7, 1.3
_SOON = 0.2
# linux/socket.h, linux/filter.h: a program of one instruction, "return 0", which lets no packet in.
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_NOTHING = struct.pack("=HBBI", 0x06, 0, 0, 0)


@dataclass
class TcpClosing:
    """Connections of a host's own and of guests at its mappings, all closed from inside; then others call."""

    ground: DiscoverySetup
    behaviour: NatBehaviour
    _looks: list[tuple[str, bool, Call]] = field(default_factory=list)
    _again: list[tuple[str, Endpoint | None, Endpoint | None]] = field(default_factory=list)

    def steps(self) -> Iterator[Step]:
        """Yield what to do when, in seconds from now; opens the connections."""
        lives_s, after_s = self.behaviour.tcp_established_lifetime_s, self.behaviour.tcp_transitory_lifetime_s
        close_at = _CLOSE_AT * lives_s
        look_at = close_at + _ALIVE_AFTER * after_s
        place = visitors(self.ground, self.behaviour.filtering)
        other = elsewhere(self.ground, self.behaviour.mapping)
        if place is not None:
            yield from self._own(close_at, look_at, place, None)
            yield from self._guests(close_at, look_at, place, None, alive=True)
            if lives_s > after_s:
                soon_s = _SOON * after_s
                yield from self._guests(soon_s, soon_s + _DEAD_AFTER * after_s, place, None, alive=False)
        if other is not None:
            yield from self._own(close_at, look_at, None, other)
        if place is not None and other is not None and self.behaviour.mapping is Mapping.EIM:
            yield from self._guests(close_at, look_at, place, other, alive=True)
        if place is not None and self.behaviour.filtering is Filtering.EIF:
            yield from self._unanswered(after_s, place)

    def check(self) -> None:
        """Raise LabError where a mapping lived shorter or longer than the transitory lifetime."""
        self.ground.until(lambda: all(made.state != "waiting" for _, alive, made in self._looks if alive))
        for what, alive, made in self._looks:
            if (made.state == "open") != alive:
                raise LabError(
                    f"the mapping of {what} was {'not ' if alive else ''}there after the transitory lifetime"
                )
        for what, before, now in self._again:
            if before != now:
                raise LabError(f"the mapping of {what} became another one within the transitory lifetime")
        hang_up(self.ground, *(made for _, _, made in self._looks))

    def _own(self, close_at: float, look_at: float, place: Vantage | None, other: Endpoint | None) -> Iterator[Step]:
        """Close a host's own connection; then let a visitor in by its mapping, or call out by it."""
        ground = self.ground
        made = connected(ground, ground.inside[0], ground.primary)
        port = port_of(made.bound)
        self._open_door(port)
        yield close_at, lambda: hang_up(ground, made)
        yield look_at, lambda: self._look("a connection that its host closed", made, port, place, other, alive=True)

    def _guests(  # as of `_own`
        self, close_at: float, look_at: float, place: Vantage, other: Endpoint | None, *, alive: bool
    ) -> Iterator[Step]:
        """Close a guest's connection from inside, at a mapping whose own connection was closed at once."""
        ground = self.ground
        made = connected(ground, ground.inside[0], ground.primary)
        port = port_of(made.bound)
        _, accepted = self._open_door(port)
        assert made.mapped is not None  # connected asks for it
        hang_up(ground, made)
        guest = call(ground, place, made.mapped)
        if not ground.until(lambda: guest.state != "waiting" and bool(accepted)) or guest.state != "open":
            raise LabError(f"a stranger's TCP call to a mapping that lets him in: {guest.state}")

        def close() -> None:
            hang_up(ground, Call(accepted[0]))
            ground.wire.forget(guest.bound)

        yield close_at, close
        yield look_at, lambda: self._look("a guest's closed connection", made, port, place, other, alive=alive)

    def _unanswered(self, after_s: float, place: Vantage) -> Iterator[Step]:
        """Let somebody call a mapping at which nobody answers, and later somebody else, who is answered."""
        ground = self.ground
        made = connected(ground, ground.inside[0], ground.primary)
        port = port_of(made.bound)
        door, _ = self._open_door(port)
        hang_up(ground, made)
        to = made.mapped
        assert to is not None  # connected asks for it
        _be_deaf(door)
        callers: list[Call] = []
        yield _CLOSE_AT * after_s, lambda: callers.append(call(ground, place, to))

        def look() -> None:
            door.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
            hang_up(ground, *callers)
            self._look("a caller whom nobody answered", made, port, place, None, alive=True)

        yield _DEAD_AFTER * after_s, look

    def _look(  # as of `_own`
        self, what: str, made: Call, port: int, place: Vantage | None, other: Endpoint | None, *, alive: bool
    ) -> None:
        ground = self.ground
        assert made.mapped is not None  # connected asks for it
        if other is not None:
            again = connected(ground, ground.inside[0], other, port)
            self._again.append((what, made.mapped, again.mapped))
            hang_up(ground, again)
        elif place is not None:
            self._looks.append((what, alive, call(ground, place, made.mapped)))

    def _open_door(self, port: int) -> tuple[socket.socket, list[socket.socket]]:
        """Listen at a port of the inside host; return the listener and where its connections come."""
        door = self.ground.inside[0].bound(socket.SOCK_STREAM, port)
        door.listen(8)
        accepted: list[socket.socket] = []

        def take(connection: socket.socket, _: Endpoint) -> None:
            accepted.append(connection)
            self.ground.wire.listen(connection, lambda *_: None)

        self.ground.wire.accept(door, take)
        return door, accepted


def _be_deaf(door: socket.socket) -> None:
    """Let a listener drop what comes in without a word: a closed one would refuse, which is an answer."""
    program = ctypes.create_string_buffer(_NOTHING)
    door.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HL", 1, ctypes.addressof(program)))
