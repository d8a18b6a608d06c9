"""Who begins a direct handshake and who only opens its NAT: the coordinator's side and a member's, both pure.

Two WireGuards that begin at once spoil each other's handshake: one has room for a single handshake a peer, so what
comes crossing takes the place of its own, the answer to which then belongs to none. Both try again only after 5 s
(REKEY_TIMEOUT). So of each pair one *opens*: it knows the peer, sends a datagram that means nothing from WireGuard's
own port, and tells the coordinator. Then the other *begins*. When that leads to nothing the two change places, because
behind some NATs only one of them can begin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["open", "wait", "begin"]

# Ten keepalives of 1 s; WireGuard itself gives a session up after 15 s (KEEPALIVE_TIMEOUT + REKEY_TIMEOUT).
SILENT_S = 10.0
KEEPALIVE_S = 1
# A handshake needs a round trip, and word of it another; a machine that is busy, half a second.
PATIENCE_S = 0.5
PATIENCE_RTTS = 3.0
# Both have begun twice; from then on as slowly as WireGuard itself.
FAST_ATTEMPTS = 4
SLOW_PATIENCE_S = 5.0
# Datagrams that open a NAT may be lost; more of them later keep it open.
OPENINGS_AT_ONCE = 3
REOPEN_S = 1.0


@dataclass(frozen=True)
class Told:
    """What the coordinator tells a member of a peer; `slow`: nothing has helped for a while, so there is no hurry."""

    endpoint: str
    attempt: int
    role: Role
    slow: bool = False


@dataclass(frozen=True)
class Report:
    """What a member tells the coordinator: its round trip there, the last attempt for which it has opened its NAT by
    peer, and the peers that it reaches directly."""

    rtt_s: float = 0.0
    opened: Mapping[str, int] = field(default_factory=dict)
    direct: frozenset[str] = frozenset()


@dataclass
class _Pair:
    """One pair's present attempt; `tries` are those since something changed."""

    endpoints: tuple[str, str]
    attempt: int = 0
    tries: int = 0
    opened: bool = False
    begun_s: float = math.inf
    was_direct: bool = False

    def again(self, tries: int) -> None:
        """Begin the next attempt, the other way round."""
        self.attempt, self.tries, self.opened, self.begun_s = self.attempt + 1, tries, False, math.inf
        self.was_direct = False


class Turns:
    """The coordinator's side: every pair of members and whose turn it is. Members are named by their keys."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[str, str], _Pair] = {}
        self._reports: dict[str, Report] = {}

    def answer(self, now: float, who: str, report: Report, endpoints: Mapping[str, str]) -> dict[str, Told]:
        """Take a member's report at `now` (s, monotonic) and say what it is to do about each peer.

        Args:
            endpoints: outer addresses by key, of all with whom the hub has had a handshake.
        """
        self._reports[who] = report
        if who not in endpoints:
            return {}
        return {
            peer: self._turn(now, who, peer, endpoints) for peer in endpoints if peer != who and peer in self._reports
        }

    def _turn(self, now: float, who: str, peer: str, endpoints: Mapping[str, str]) -> Told:
        first, second = sorted((who, peer))
        places = endpoints[first], endpoints[second]
        pair = self._pairs.setdefault((first, second), _Pair(places))
        own, others = self._reports[who], self._reports[peer]
        if peer in own.direct or who in others.direct:
            pair.was_direct = True
        elif pair.was_direct or pair.endpoints != places:
            pair.again(tries=0)
        elif now - pair.begun_s > self._patience_s(pair, own.rtt_s + others.rtt_s):
            pair.again(tries=pair.tries + 1)
        pair.endpoints = places
        begins = (first, second)[pair.attempt % 2]
        role: Role = "open"
        if own.opened.get(peer) == pair.attempt and who != begins:
            pair.opened = True
        if who == begins:
            role = "begin" if pair.opened else "wait"
            if pair.opened:
                pair.begun_s = min(pair.begun_s, now)
        return Told(endpoints[peer], pair.attempt, role, slow=pair.tries >= FAST_ATTEMPTS)

    @staticmethod
    def _patience_s(pair: _Pair, rtts_s: float) -> float:
        patience_s = PATIENCE_S + PATIENCE_RTTS * rtts_s
        return patience_s if pair.tries < FAST_ATTEMPTS else max(patience_s, SLOW_PATIENCE_S)


@dataclass(frozen=True)
class Seen:
    """A peer in `wg show DEVICE dump`: its outer address, Unix time of the last handshake (0: none), bytes received."""

    endpoint: str | None
    handshake: int
    received: int


@dataclass(frozen=True)
class Step:
    """What is to be done now: commands for `wg set DEVICE`, one after the other, and where to send an opening."""

    commands: tuple[tuple[str, ...], ...] = ()
    open_to: str | None = None


@dataclass
class Peer:
    """Another member as a member sees it: where it is, and whether its /32 is its own or the hub's.

    A new direct peer first gets no allowed IPs, so traffic still goes through the hub; the /32 moves over when the
    handshake has been seen, and back when the peer falls silent.
    """

    name: str
    key: str
    address: str
    endpoint: str | None = None
    direct: bool = False
    opened: int | None = None
    """The attempt for which our NAT has been opened."""
    _attempt: tuple[int, str] | None = None
    _role: Role | None = None
    _openings: int = 0
    _opened_at: float = -math.inf
    _received: int = 0
    _heard_at: float = -math.inf

    def step(self, now: float, seen: Seen | None, told: Told | None) -> Step:
        """Return what is to be done at `now` (s, monotonic).

        Args:
            seen: what the own WireGuard knows of the peer.
            told: the coordinator's last word; None where there is none yet.
        """
        if seen is not None and seen.received > self._received:
            self._received, self._heard_at = seen.received, now
        if self.direct:
            if now - self._heard_at <= SILENT_S:
                return Step()
            self.direct, self.endpoint, self.opened = False, None, None
            self._attempt, self._received = None, 0
            return Step((self._forget(),))
        if seen is not None and seen.handshake and now - self._heard_at <= SILENT_S:
            self.direct, self.endpoint = True, seen.endpoint
            keepalive = ("persistent-keepalive", str(KEEPALIVE_S))
            return Step((("peer", self.key, "allowed-ips", f"{self.address}/32", *keepalive),))
        return Step() if told is None else self._follow(now, seen, told)

    def _follow(self, now: float, seen: Seen | None, told: Told) -> Step:
        """Play one's part in an attempt."""
        commands: list[tuple[str, ...]] = []
        if (told.attempt, told.endpoint) != self._attempt:
            self._attempt, self._role = (told.attempt, told.endpoint), None
            self.endpoint, self.opened, self._received, self._openings = told.endpoint, None, 0, 0
            if seen is not None:
                commands.append(self._forget())  # it would go on with the last attempt
        if told.role != self._role:
            self._role = told.role
            if told.role == "open":
                commands.append(("peer", self.key, "endpoint", told.endpoint))
            elif told.role == "begin":
                keepalive = ("persistent-keepalive", str(KEEPALIVE_S))
                commands.append(("peer", self.key, "endpoint", told.endpoint, *keepalive))
        if told.role != "open":
            return Step(tuple(commands))
        if self._openings >= OPENINGS_AT_ONCE and now - self._opened_at < REOPEN_S:
            return Step(tuple(commands))
        self._openings, self._opened_at, self.opened = self._openings + 1, now, told.attempt
        return Step(tuple(commands), open_to=told.endpoint)

    def _forget(self) -> tuple[str, ...]:
        return ("peer", self.key, "remove")

    def __str__(self) -> str:
        return f"{self.name}: direct at {self.endpoint}" if self.direct else f"{self.name}: through the hub"
