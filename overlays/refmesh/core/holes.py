"""Between peers, servers and the puncher: says when to punch, passes PUNCH on, sends the shots."""

from __future__ import annotations

import math

from overlays.refmesh.core.check import Path
from overlays.refmesh.core.connectivity import PathFinder
from overlays.refmesh.core.outbox import Outbox
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.core.peers import Peers
from overlays.refmesh.core.puncher import Puncher, check_path, frame
from overlays.refmesh.core.server_link import ServerLink
from overlays.refmesh.core.servers import Servers
from overlays.refmesh.core.tunnel import Tunnel
from overlays.refmesh.wire import control
from overlays.refmesh.wire.bodies import Punch


class Holes:
    """Punching for one node."""

    def __init__(
        self,
        puncher: Puncher,
        peers: Peers,
        servers: Servers,
        tunnel: Tunnel,
        outbox: Outbox,
        *,
        punches: bool,
        flags: int,
    ) -> None:
        """`punches`: whether ports are guessed at all; `flags`: what our PINGs say."""
        self._puncher, self._peers, self._servers = puncher, peers, servers
        self._tunnel, self._outbox = tunnel, outbox
        self._punches, self._flags = punches, flags

    def on_punch(self, link: ServerLink, punch: Punch, now: float) -> None:
        """Return a peer's PUNCH."""
        peer = self._peers.by_key.get(link.by_number.get(punch.other, b""))
        if (
            peer is not None
            and peer.numbers.get(link.index) == punch.other
            and peer.finder is not None
            and self._punches
        ):
            self._puncher.on_punch(peer, link, punch, dependent=self._servers.dependent, now=now)
            self._outbox.due(peer, now)

    def tick(self, peer: Peer, finder: PathFinder, now: float) -> float:
        """Do what is due for one peer; return when something is due again."""
        if peer.path is not None and peer.path.direct and peer.session.usable(now):
            return self._puncher.done(peer, finder, now)
        link = self._servers.knowing(peer)
        if link is None or not self._punches or not peer.wanted:
            return math.inf  # the server's news will wake us
        if not self._servers.translated and not finder.translated:
            return math.inf  # both ports are what they say, and plain checks open firewalls
        self._try(peer, finder, link, now)
        return self._puncher.deadline(peer)

    def _try(self, peer: Peer, finder: PathFinder, link: ServerLink, now: float) -> None:
        outbox = self._outbox
        self._puncher.watch(peer, now)
        # Without a session, in mode direct, handshakes are tried instead of checks.
        tried = finder.tried(now) or not peer.session.usable(now)
        told = self._puncher.tick(peer, link, dependent=self._servers.dependent, tried=tried, now=now)
        if told is not None:
            outbox.send_sealed(link.peer, frame(peer.numbers[link.index], told), Path(link.endpoint), now)
        paths = [check_path(local, endpoint) for local, endpoint in self._puncher.shots(peer, now)]
        if not paths:
            return
        if peer.session.usable(now):
            for path, transaction in finder.volley(paths, now):
                outbox.send_sealed(peer, control.frame(control.PING, transaction, self._flags), path, now)
        else:
            initiation = self._tunnel.initiate(peer.session, now)
            peer.session.went(paths)
            for path in paths:
                outbox.send(path, initiation)
