"""What is due for one peer: handshakes, keepalives, checks, punching."""

from __future__ import annotations

from weakref import WeakSet

from overlays.refmesh.core.check import Path
from overlays.refmesh.core.connectivity import SILENCE_S, PathFinder
from overlays.refmesh.core.holes import Holes
from overlays.refmesh.core.outbox import Outbox
from overlays.refmesh.core.pacer import Pacer
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.core.peers import Peers
from overlays.refmesh.core.probing import Probing
from overlays.refmesh.core.servers import Servers
from overlays.refmesh.core.tunnel import Tunnel
from overlays.refmesh.wire import control

LOOK_S = 5.0
AWAY_RETRY_S = 30.0
"""A member that has been silent for 90 s is tried so often, unless servers say that it is not there."""
CHECKS_PER_S, CHECKS_BURST = 100.0, 50
"""Checks to all peers together: what many peers at once would ask for must not drown a small machine."""


class Upkeep:
    """Looks after the peers of one node."""

    def __init__(
        self,
        *,
        tunnel: Tunnel,
        peers: Peers,
        servers: Servers,
        holes: Holes,
        outbox: Outbox,
        probing: Probing,
        flags: int,
    ) -> None:
        """Take `flags`: what our PINGs say."""
        self._tunnel, self._peers, self._holes, self._outbox = tunnel, peers, holes, outbox
        self._flags, self._probing, self._servers = flags, probing, servers
        self._checks = Pacer(CHECKS_PER_S, CHECKS_BURST)
        self._held: WeakSet[Peer] = WeakSet()
        """Peers with checks that are due and must wait for others'."""

    def tick(self, peer: Peer, now: float) -> None:
        """Do what is due for one peer and say when it is due again."""
        session, finder = peer.session, peer.finder
        if finder is not None:
            session.tireless_s = AWAY_RETRY_S if peer.wanted and not peer.hub_servers else 0.0
            if session.tireless_s and not session.usable(now):
                session.want(now)
        initiation, keepalive = self._tunnel.tick(session, now)
        if initiation is not None:
            ways = _handshake_ways(peer, now)
            session.went(ways)
            for path in ways:
                self._outbox.send(path, initiation)
        if keepalive is not None and peer.path is not None:
            self._outbox.send(peer.path, keepalive)
        due_s = session.deadline()
        if peer.mtus:
            due_s = min(due_s, self._probing.tick(peer, now))
        usable = session.usable(now)
        if finder is not None and usable:
            self._check(peer, finder, now)
        if finder is not None and not peer.hub_servers:
            due_s = min(due_s, self._holes.tick(peer, finder, now))
        if finder is not None and usable:
            due_s = min(session.deadline(), due_s, self._next_check_s(peer, finder, now))
        # Traffic moves deadlines without telling; looking every few seconds is cheaper than telling each time.
        peer.due_s = min(due_s, now + LOOK_S) if session.current is not None else due_s

    def _check(self, peer: Peer, finder: PathFinder, now: float) -> None:
        """Send the checks that are due to a peer with which there are keys."""
        if peer.data_sent_s - peer.session.last_received_s > SILENCE_S:
            best = finder.checks.get(peer.path) if peer.path is not None else None
            if best is None or not best.unanswered:
                finder.suspect(now)
            if peer.path is not None and not peer.path.direct:
                self._servers.doubt(peer.path, now)
        for path, transaction in finder.due(now, self._checks.available(now)):
            self._checks.take()
            self._outbox.send_sealed(peer, control.frame(control.PING, transaction, self._flags), path, now)
        if finder.best is not peer.path:
            self._peers.use(peer, finder.best, now)

    def _next_check_s(self, peer: Peer, finder: PathFinder, now: float) -> float:
        due_s = finder.deadline()
        if due_s > now:
            self._held.discard(peer)
            return due_s
        # One gets the next check that there may be, so they take turns: if all looked then, n would look n times each.
        self._held.add(peer)
        return max(self._checks.next_s(now), now + len(self._held) / CHECKS_PER_S)


def _handshake_ways(peer: Peer, now: float) -> list[Path]:
    if peer.finder is None:
        return [peer.path] if peer.path is not None else []
    # The first try over a relay is answered nearly always; only when it is not, everything is tried.
    relays = list(peer.finder.relays)
    return relays if relays and len(peer.session.pending) == 1 else peer.finder.ways(now)
