"""Carries out `punching` for a node: measures, agrees with the peer through a server, fires."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

from overlays.refmesh.core import punching
from overlays.refmesh.core.check import Path
from overlays.refmesh.core.connectivity import PathFinder
from overlays.refmesh.core.pacer import Pacer
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.core.punching import FIRING, IDLE, MEASURING, WAITING, Round
from overlays.refmesh.keys import Rng
from overlays.refmesh.wire import control, stun
from overlays.refmesh.wire.bodies import Punch
from overlays.refmesh.wire.control import Endpoint

if TYPE_CHECKING:
    from overlays.refmesh.core.server_link import ServerLink

MAX_ASKED = 4
"""Rounds that a node asks for at the same time: each draws ports from the sequence that the others would predict."""
TURN_S, TURNS = 0.25, 8
"""So often a round that must wait looks whether it may begin; where more than so many wait, as many in all."""
MAX_ANSWERED = 4
"""Rounds that others have asked for at the same time."""
SHOTS_PER_S, SHOTS_BURST = 4000.0, 400
"""Shots at all peers together: four that ask for birthday probing, 1000 a second each."""
MAX_LOCALS = 2 * punching.BIRTHDAY_SOCKETS + 128
"""Fresh sockets of all peers together: two rounds of birthday probing and others' probes, well below the 1024
descriptors that a process may have by default. Who finds too few left waits for his turn."""


class Puncher:
    """Rounds of punching, one for each peer. `send(local, datagram, endpoint)` sends from a socket by its number."""

    def __init__(self, rng: Rng, send: Callable[[int, bytes, Endpoint], None], lower: Callable[[Peer], bool]) -> None:
        """`lower` says whether our key is the lower one, which makes us the one that asks."""
        self._rng, self._send, self._lower = rng, send, lower
        self._rounds: dict[Peer, Round] = {}
        self._asked: set[Peer] = set()
        """Peers with a round under way that we have asked for."""
        self._answering: set[Peer] = set()
        """Peers with one under way that they have asked for."""
        self._waiting: set[Peer] = set()
        """Peers whose round is due, and must wait."""
        self._probed: dict[bytes, Peer] = {}
        """For whom each STUN transaction is that is out."""
        self._next_local = 1
        self._open: set[int] = set()
        self._rate = Pacer(SHOTS_PER_S, SHOTS_BURST)
        self.birthday = True
        """Whether random ports are tried, too."""
        self.closed: list[int] = []
        """Numbers of sockets that are not needed any more; the driver closes them."""

    def is_open(self, local: int) -> bool:
        """Whether a socket is to be there, by its number; a number is never used twice."""
        return local in self._open

    def round_of(self, peer: Peer) -> Round:
        """Return the state for one peer."""
        state = self._rounds.get(peer)
        if state is None:
            state = self._rounds[peer] = Round()
        return state

    def watch(self, peer: Peer, now: float) -> None:
        """Start the clock when a peer could be reached but is not reached directly."""
        state = self.round_of(peer)
        peer.handover.end()
        if state.state == IDLE and state.due_s == math.inf:
            state.due_s = now + punching.START_AFTER_S

    def forget(self, peer: Peer) -> None:
        """Note that the peer is gone."""
        state = self._rounds.pop(peer, None)
        if state is not None:
            self._finish(peer, state, math.inf)

    def reset(self) -> None:
        """Note that the network has changed: all that was tried may be tried again."""
        for state in self._rounds.values():
            state.number, state.due_s = 0, math.inf
        self._waiting.clear()

    def done(self, peer: Peer, finder: PathFinder, now: float) -> float:
        """Note that a direct path is in use: keep its socket, close the others, but not in front of the peer.

        Return when that is to be looked at again.
        """
        state = self._rounds.get(peer)
        if state is None or peer.path is None or (state.state == IDLE and not state.locals and state.due_s == math.inf):
            return math.inf
        kept = peer.handover.step(finder, peer.path, state.locals, first=self._lower(peer), now=now)
        self._finish(peer, state, math.inf, keep=kept)
        state.number = 0
        return peer.handover.deadline()

    def tick(
        self, peer: Peer, link: ServerLink | None, *, dependent: bool, tried: bool = True, now: float
    ) -> dict[str, Any] | None:
        """Do what is due; return a PUNCH to be sent to the peer through `link`'s server.

        `tried`: whether the plain checks have had their chance. With many peers they take turns, and punching before
        they are through would only add to what holds them up.
        """
        state = self.round_of(peer)
        self._end_rounds(now)
        if now < state.due_s or link is None or link.entry.stun is None:
            return None
        if state.state == IDLE:
            if not self._lower(peer):
                state.due_s = math.inf
            elif tried and len(self._asked) < MAX_ASKED and self._room(dependent=dependent):
                self._measure(peer, state, link, asked=True, now=now)
            else:
                self._waiting.add(peer)
                state.due_s = now + TURN_S * max(1.0, len(self._waiting) / TURNS)
        elif state.state == MEASURING:
            return self._told(peer, state, dependent=dependent, now=now)
        elif state.state == FIRING:
            self._arm(state)
        return None

    def on_stun(self, transaction: bytes, mapped: Endpoint, now: float) -> Peer | None:
        """Note that a probe was answered; return the peer that it was for, None when it was none of ours."""
        peer = self._probed.pop(transaction, None)
        if peer is not None:
            state = self._rounds[peer]
            state.host, state.ports[state.probes.pop(transaction)] = mapped
            if not state.probes:
                state.due_s = min(state.due_s, now)
        return peer

    def on_punch(self, peer: Peer, link: ServerLink, theirs: Punch, *, dependent: bool, now: float) -> None:
        """Return the peer's PUNCH came."""
        state = self.round_of(peer)
        if peer.path is not None and peer.path.direct:
            return
        if not 0 < theirs.n <= punching.ROUNDS or (theirs.host and theirs.host not in _hosts_seen(peer)):
            return  # a host that no server has seen the peer at may be anybody's
        if theirs.ask:
            self._end_rounds(now)
            if (
                len(self._answering) >= MAX_ANSWERED
                or not self._room(dependent=dependent)
                or state.asks.available(now) < 1
            ):
                return
            state.asks.take()
            self._release(state, keep=())
            state.theirs, state.number = theirs, theirs.n - 1
            self._measure(peer, state, link, asked=False, now=now)
        elif state.state == WAITING and theirs.n == state.number:  # else it answers a round that is over
            state.theirs = theirs
            self._fire(peer, state, dependent=dependent, now=now)

    def shots(self, peer: Peer, now: float) -> list[tuple[int, Endpoint]]:
        """Return the checks to send now, as (local socket, where to)."""
        state = self._rounds.get(peer)
        if state is None or state.state != FIRING:
            return []
        count = next((i for i, shot in enumerate(state.shots) if shot[0] > now), len(state.shots))
        count = min(count, self._rate.available(now), state.budget.available(now))
        ready, state.shots = state.shots[:count], state.shots[count:]
        self._rate.take(count)
        state.budget.take(count)
        self._arm(state)
        state.due_s = max(state.due_s, self._rate.next_s(now), state.budget.next_s(now))
        return [(local, endpoint) for _, local, endpoint in ready]

    def deadline(self, peer: Peer) -> float:
        """When something is due for this peer."""
        state = self._rounds.get(peer)
        return math.inf if state is None else min(state.due_s, state.until_s)

    # --- one round

    def _room(self, *, dependent: bool) -> bool:
        """Whether there are sockets for one more round; birthday probing with too few of them is a waste."""
        return len(self._open) + punching.PROBES + (punching.BIRTHDAY_SOCKETS if dependent else 1) <= MAX_LOCALS

    def _measure(self, peer: Peer, state: Round, link: ServerLink, *, asked: bool, now: float) -> None:
        assert link.entry.stun is not None
        self._leave(peer, state)
        (self._asked if asked else self._answering).add(peer)
        state.state, state.asked, state.server = MEASURING, asked, link.index
        state.number += 1
        state.due_s, state.until_s = now + punching.MEASURE_S, now + punching.ROUND_S
        state.ports, state.host, state.shots = {}, "", []
        for position, local in enumerate(self._fresh(state, punching.PROBES)):
            transaction = self._rng(stun.TRANSACTION_LEN)
            state.probes[transaction], self._probed[transaction] = position, peer
            self._send(local, stun.request(transaction), (link.entry.stun.host, link.entry.stun.port))

    def _told(self, peer: Peer, state: Round, *, dependent: bool, now: float) -> dict[str, Any]:
        message = state.message(dependent=dependent)
        if state.asked:
            state.state, state.due_s = WAITING, math.inf
        else:
            self._fire(peer, state, dependent=dependent, now=now)
        return message

    def _end_rounds(self, now: float) -> None:
        """End the rounds that have had their time, of peers that have gone away too: they would hold others' turns."""
        for peer in [*self._asked, *self._answering]:
            state = self._rounds[peer]
            if now >= state.until_s and peer.path is not None and peer.path.direct:
                self._finish(peer, state, math.inf, keep=state.locals)  # `done` closes what is not in use
            elif now >= state.until_s:
                self._finish(peer, state, now + (0.0 if state.number < punching.ROUNDS else punching.PAUSE_S))

    def _fire(self, peer: Peer, state: Round, *, dependent: bool, now: float) -> None:
        planned = punching.plan(
            state, dependent=dependent, reflexive=list(dict.fromkeys(peer.seen.values())), birthday=self.birthday
        )
        fresh = self._fresh(state, planned.fresh_sockets)
        state.state = FIRING
        state.shots = punching.volleys(planned, fresh, self._random_ports(), first=not state.asked, now=now)
        # The other side of a birthday needs as long as all its tries take.
        tries_s = punching.BIRTHDAY_TRIES / punching.TRIES_PER_BURST * punching.BURST_S
        birthday = planned.birthday_host or planned.fresh_sockets > 1
        shooting_s = tries_s if birthday else (punching.REPEATS + 1) * punching.REPEAT_S
        state.until_s = now + shooting_s + punching.SETTLE_S
        self._arm(state)

    def _arm(self, state: Round) -> None:
        state.due_s = state.shots[0][0] if state.shots else math.inf

    def _finish(self, peer: Peer, state: Round, again_s: float, keep: Collection[int] = ()) -> None:
        self._leave(peer, state)
        self._release(state, keep)
        state.state, state.due_s, state.until_s, state.shots = IDLE, again_s, math.inf, []
        if state.number >= punching.ROUNDS:
            state.number = 0

    def _leave(self, peer: Peer, state: Round) -> None:
        """Take a peer out of all that counts; what is still measured for it is of no use any more."""
        for counted in (self._asked, self._answering, self._waiting):
            counted.discard(peer)
        for transaction in state.probes:
            self._probed.pop(transaction, None)
        state.probes = {}

    def _fresh(self, state: Round, count: int) -> list[int]:
        count = min(count, MAX_LOCALS - len(self._open))
        fresh = list(range(self._next_local, self._next_local + max(0, count)))
        self._next_local += len(fresh)
        self._open.update(fresh)
        state.locals += fresh
        return fresh

    def _release(self, state: Round, keep: Collection[int]) -> None:
        closing = [local for local in state.locals if local not in keep]
        state.locals = [local for local in state.locals if local in keep]
        self._open.difference_update(closing)
        self.closed += closing

    def _random_ports(self) -> Iterator[int]:
        # Without repetition, as a tried port is a lost try; a linear walk of odd stride visits each port once.
        span = 65536 - punching.LOWEST_PORT
        start = int.from_bytes(self._rng(4), "big") % span
        stride = int.from_bytes(self._rng(4), "big") % span
        while math.gcd(stride, span) != 1:
            stride = (stride + 1) % span
        while True:
            yield punching.LOWEST_PORT + start
            start = (start + stride) % span


def _hosts_seen(peer: Peer) -> set[str]:
    return {host for host, _ in peer.seen.values()}


def check_path(local: int, endpoint: Endpoint) -> Path:
    """Return the direct path of a shot."""
    return Path(endpoint, 0, local)


def frame(number: int, body: dict[str, Any]) -> bytes:
    """Return a PUNCH for the server to pass on to the member with this relay number."""
    return control.json_frame(control.PUNCH, {"to": number} | body)
