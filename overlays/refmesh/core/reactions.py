"""What an authentic message changes: where a peer is, which keys are in use, what a server has told."""

from __future__ import annotations

from overlays.refmesh.config import NodeConfig
from overlays.refmesh.core.check import PEER_REFLEXIVE, Path
from overlays.refmesh.core.dataplane import DataPlane
from overlays.refmesh.core.egress import Egress
from overlays.refmesh.core.holes import Holes
from overlays.refmesh.core.outbox import Outbox
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.core.peers import Peers
from overlays.refmesh.core.probing import Probing
from overlays.refmesh.core.server_link import ServerLink
from overlays.refmesh.core.servers import Servers
from overlays.refmesh.core.tunnel import Input
from overlays.refmesh.errors import MalformedMessage
from overlays.refmesh.wire import bodies, control

ELSEWHERE_S = 5.0
"""Two ends may use different paths for long; the one in use is checked so often then."""


class Reactions:
    """Acts on what peers and servers say inside their sessions."""

    def __init__(
        self,
        config: NodeConfig,
        *,
        peers: Peers,
        servers: Servers,
        plane: DataPlane,
        holes: Holes,
        egress: Egress,
        outbox: Outbox,
        probing: Probing,
        flags: int,
    ) -> None:
        """Take `flags`: what our PONGs say."""
        self._config, self._peers, self._servers, self._plane = config, peers, servers, plane
        self._holes, self._egress, self._outbox, self._flags = holes, egress, outbox, flags
        self._probing = probing

    def on_input(self, result: Input, path: Path, now: float) -> None:
        link = self._servers.of(result.session.remote)
        peer = link.peer if link is not None else self._peers.by_key[result.session.remote]
        if result.reply is not None:
            self._outbox.send(path, result.reply)
            if result.keypair is not None:
                result.keypair.place = path
        if result.reply is None or result.established:
            self.heard(peer, link, path, now)
        if result.established:
            self.on_established(peer, link, now)
        inner = [payload for payload in result.payloads if payload[0] >> 4]
        if inner:
            self._plane.packets_in(peer, inner, now)
            self.log_foreign(peer)
        if len(inner) < len(result.payloads):
            for payload in result.payloads:
                if not payload[0] >> 4:
                    self._on_control(peer, link, payload, path, now)
        self._outbox.due(peer, result.session.deadline())

    def heard(self, peer: Peer, link: ServerLink | None, path: Path, now: float) -> None:
        if link is not None:
            self._servers.heard(link, path.endpoint, now)
        elif peer.finder is None:
            peer.take(path)
        elif peer.path is None and (path.direct or self._config.mode != "direct"):
            # Better the way that the peer came than none, if it is a way; the checks will say more.
            proved = self._received_at(peer, path)
            if path.direct:
                check = peer.finder.add(path.endpoint, PEER_REFLEXIVE, now, path.local)
                if check is not None:
                    check.proved, check.credit = check.proved or proved, check.credit + 1
            if proved:
                self._peers.use(peer, peer.finder.best or path, now)
        elif peer.path is not None and path != peer.path and now - peer.elsewhere_s > ELSEWHERE_S:
            # It may have moved, and then what we send is lost: nothing that comes this way says that it is not.
            peer.elsewhere_s = now
            if path.direct and path not in peer.finder.checks and path.local not in peer.handover.quiet:
                peer.finder.add(path.endpoint, PEER_REFLEXIVE, now, path.local)
            peer.finder.doubt(now)
            self._outbox.due(peer, now)

    @staticmethod
    def _received_at(peer: Peer, path: Path) -> bool:
        """Tell whether the peer is known to receive on a path: by a relay, or where alone what made the keys that it
        uses has gone. Else it may be any host's address, written on the datagram."""
        current = peer.session.current
        return not path.direct or (current is not None and current.place == path)

    def on_established(self, peer: Peer, link: ServerLink | None, now: float) -> None:
        if link is not None:
            self._servers.on_established(link, now)
        if not self._peers.confirmed(peer):
            return
        if peer.finder is not None:
            self._peers.use(peer, peer.finder.best or peer.path, now)
            if peer.session.previous is None or peer.path is None or not peer.path.direct:
                peer.finder.restart(now, peer.session.rtt_s)
            else:
                peer.finder.suspect(now)  # the peer may have started again, elsewhere
            self._outbox.due(peer, now)
        self._send_staged(peer, now)

    def _send_staged(self, peer: Peer, now: float) -> None:
        if peer.session.staged and peer.path is not None:
            staged = list(peer.session.staged)
            peer.session.staged.clear()
            self._egress.send(peer, staged, now)

    def log_foreign(self, peer: Peer) -> None:
        if peer.foreign and not peer.foreign_logged:  # once: who sends many must not fill the log
            peer.foreign_logged = True
            self._outbox.events.append(f"{peer.name} sends with an address that is not its own; dropped")

    def _on_control(self, peer: Peer, link: ServerLink | None, payload: bytes, path: Path, now: float) -> None:
        try:
            kind, body = control.read(payload)
            if kind in (control.PING, control.PONG):
                self._on_check(peer, payload, path, now)
            elif kind == control.ETHERNET and self._config.layer == "l2":
                self._plane.frame_in(peer, body, now)
            elif kind == control.PUNCH and link is not None:
                self._holes.on_punch(link, bodies.read_punch(body, "from"), now)
            elif kind == control.UPDATE and link is not None:
                self._servers.on_update(link, bodies.read_update(body), now)
                self._egress.release_held(now)
        except MalformedMessage as error:
            self._outbox.events.append(f"{peer.name} sent nonsense: {error}")

    def _on_check(self, peer: Peer, payload: bytes, path: Path, now: float) -> None:
        kind, flags, transaction = control.check_parts(payload)
        peer.bulk = bool(flags & self._flags & control.READS_BULK)
        if path.local in peer.handover.quiet:
            return
        if kind == control.PING:
            seen = control.pack_endpoint(path.endpoint if path.direct else None)
            self._outbox.send_sealed(peer, control.frame(control.PONG, transaction + seen, self._flags), path, now)
            if peer.finder is not None:
                peer.finder.on_ping(path, now)
                self._outbox.due(peer, now)
        elif self._probing.on_pong(peer, transaction, now):
            return
        elif peer.finder is not None:
            peer.finder.on_pong(transaction, path, now)
            before = peer.path
            self._peers.use(peer, peer.finder.best, now)
            if peer.path != before:
                self._outbox.due(peer, now)  # punching ends, and its sockets are closed
            self._send_staged(peer, now)
