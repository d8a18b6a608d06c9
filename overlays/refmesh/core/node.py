"""A node: sessions, paths and servers put together, without I/O.

| room | has |
|---|---|
| `peers` | who is admitted, and the path to each |
| `servers` | links to servers, the directory's news, relays |
| `mappings` | ports that routers map to ours |
| `holes` | prediction and birthday probing |
| `egress` | what our host sends |
| `upkeep` | what is due for a peer: handshakes, keepalives, checks |
| here | what comes in, and time |
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from overlays.refmesh.config import NodeConfig
from overlays.refmesh.core import bulk, rows_loader
from overlays.refmesh.core.connectivity import PEER_REFLEXIVE, Path
from overlays.refmesh.core.dataplane import DataPlane
from overlays.refmesh.core.directory import Directory
from overlays.refmesh.core.egress import Egress
from overlays.refmesh.core.holes import Holes
from overlays.refmesh.core.igd import Request
from overlays.refmesh.core.lane import IPV4, Inlet
from overlays.refmesh.core.lifetime import Lifetime
from overlays.refmesh.core.mappings import Mappings
from overlays.refmesh.core.outbox import Outbox
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.core.peers import Peers
from overlays.refmesh.core.puncher import Puncher
from overlays.refmesh.core.server_link import ServerLink
from overlays.refmesh.core.servers import Servers
from overlays.refmesh.core.tunnel import Input, Tunnel
from overlays.refmesh.core.upkeep import Upkeep
from overlays.refmesh.credentials import Certificate
from overlays.refmesh.errors import MalformedMessage
from overlays.refmesh.keys import Rng
from overlays.refmesh.wire import control, messages, stun
from overlays.refmesh.wire.control import Endpoint

ROW_OCTETS = 500
"""Shorter datagrams are no large transfer, but checks of many peers that the kernel gave in one read."""


class Node:
    """One member of a network, or a plain WireGuard node when the configuration has neither certificate nor servers."""

    def __init__(self, config: NodeConfig, certificate: Certificate | None, rng: Rng, unix_offset_s: float) -> None:
        self.config, self.certificate = config, certificate
        self.tunnel = tunnel = Tunnel(config.private_key, rng, unix_offset_s)
        self.outbox = outbox = Outbox()
        self.plane = DataPlane(hub=config.mode == "hub")
        self.directory = Directory(config.authority, certificate, unix_offset_s)
        self.lifetime = Lifetime()
        self.local: list[tuple[str, str, int]] = []
        """Candidates of this machine as (kind, host, port); set them with `network_changed`."""
        self._inlets: dict[bytes, Inlet] = {}
        self._flags = control.READS_BULK if config.framing == "auto" and config.layer == "l3" else 0
        self.puncher = Puncher(rng, outbox.send_fresh, lambda peer: tunnel.static.public < peer.session.remote)
        self.peers = Peers(
            config,
            tunnel=tunnel,
            directory=self.directory,
            plane=self.plane,
            puncher=self.puncher,
            outbox=outbox,
            lifetime=self.lifetime,
            rng=rng,
        )
        self.servers = Servers(
            config,
            certificate.text if certificate is not None else None,
            tunnel=tunnel,
            peers=self.peers,
            plane=self.plane,
            outbox=outbox,
            lifetime=self.lifetime,
            rng=rng,
        )
        self.mappings = Mappings(outbox, rng, config.port_mapping if config.direct else ())
        self.holes = Holes(
            self.puncher, self.peers, self.servers, tunnel, outbox, direct=config.direct, flags=self._flags
        )
        self._upkeep = Upkeep(tunnel, self.peers, self.holes, outbox, flags=self._flags)
        self.egress = Egress(self.plane, self.peers, self.servers, outbox)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Our overlay addresses with prefix length."""
        return self.certificate.addresses if self.certificate is not None else self.config.addresses

    @property
    def ready(self) -> bool:
        """Whether a server has answered; without servers always."""
        return self.servers.ready

    @property
    def deadline(self) -> float:
        """When `tick` is due."""
        return self.outbox.deadline

    def start(self, now: float) -> None:
        """Begins to connect to the servers."""
        self.servers.start(now)

    def network_changed(
        self, local: Sequence[tuple[str, str, int]], now: float, routers: Sequence[tuple[str, str]] = ()
    ) -> None:
        """This machine's addresses, now: tells the servers and checks all paths again.

        `routers`: pairs of a router's IPv4 address and ours towards it, to be asked for port mappings.
        """
        self.local = list(local)
        self.mappings.ask(routers, {host: port for _, host, port in self.local}, now)
        self.puncher.reset()
        self._tell_candidates(now)
        self.peers.recheck(now)

    def _tell_candidates(self, now: float) -> None:
        self.servers.candidates = self.local + self.mappings.candidates()
        self.servers.greet(now)

    def port_mapped(self, request: Request, external: Endpoint | None, lease_s: float, now: float) -> None:
        """What came of one of `mappings.requests`: the external endpoint, None when there is none."""
        if self.mappings.on_igd(request, external, lease_s, now):
            self._tell_candidates(now)

    # --- from the network

    def receive(self, datagram: bytes, source: Endpoint, now: float, local: int = 0) -> None:
        """Takes one datagram from a socket, by its number, or from a stream."""
        if self._receive_packet(datagram, source, now, local):
            return
        path = Path(source, 0, local)
        if messages.message_type(datagram) == messages.RELAY:
            if len(datagram) <= messages.RELAY_HEAD.size or self.servers.at(source) is None:
                return
            path = Path(source, messages.RELAY_HEAD.unpack_from(datagram)[1])
            datagram = datagram[messages.RELAY_HEAD.size :]
        elif stun.is_stun(datagram):
            self._on_stun(datagram, now)
            return
        if messages.message_type(datagram) == messages.BULK:
            self._on_bulk((datagram,), path, now)
            return
        if self.mappings.is_from_router(source):
            if self.mappings.receive(datagram, source, now):
                self._tell_candidates(now)
            return
        result = self.tunnel.receive(datagram, control.pack_endpoint(source), now)
        if isinstance(result, bytes):
            self.outbox.send(path, result)
        elif result is not None:
            self._on_input(result, path, now)

    def _receive_packet(self, datagram: bytes, source: Endpoint, now: float, local: int) -> bool:
        """Takes an IP packet of a peer with which all is well, as nearly all datagrams are; False: what else it may be.

        It does what `_on_input` does, without the questions that the answer to is known then.
        """
        if messages.message_type(datagram) != messages.TRANSPORT or len(datagram) < messages.TRANSPORT_MIN_LEN:
            return False
        index = datagram[4:8]
        inlet = self._inlets.get(index)
        if inlet is not None:
            packet = inlet.open(datagram, now) if inlet.right(now) else None
            if packet is not None:
                self.plane.to_tun.append(packet)
                return True
            self._inlets.clear()
        return self._receive_message(datagram, index, source, now, local)

    def _receive_message(self, datagram: bytes, index: bytes, source: Endpoint, now: float, local: int) -> bool:
        session, keypair = self.tunnel.keypair_of(datagram) or (None, None)
        if session is None or keypair is None or keypair is not session.current or not keypair.usable(now):
            return False
        peer = self.peers.by_key.get(session.remote)
        if peer is None or peer.finder is None or peer.path is None:
            return False
        payload = keypair.open(datagram)
        if payload and payload[0] >> 4:
            session.received(keypair, True, now)
            if session.attempt_due_s <= now:
                self.outbox.due(peer, now)
            self.plane.packets_in(peer, (payload,), now)
            self._log_foreign(peer)
            if payload[0] == IPV4 and Inlet.possible(peer):
                self._inlets[index] = Inlet(peer, keypair, self.plane.routes)
        elif payload is not None:
            self._on_input(self.tunnel.accepted(session, keypair, [payload], now), Path(source, 0, local), now)
        return True

    def receive_rows(self, data: memoryview, size: int, source: Endpoint, now: float, local: int = 0) -> bool:
        """Takes datagrams of `size` octets each, the last one perhaps shorter, that came in one read from one source.

        False, and nothing has happened: they are no large transfer, so `receive_run` must take them.
        """
        if size < ROW_OCTETS:
            return False
        kind, prefix, path = messages.message_type(data), 0, Path(source, 0, local)
        if kind == messages.RELAY and self.servers.at(source) is not None:
            prefix, path = messages.RELAY_HEAD.size, Path(source, messages.RELAY_HEAD.unpack_from(data)[1])
            kind = messages.message_type(data[prefix:])
        chunks = kind == messages.BULK
        if kind != messages.TRANSPORT and not (chunks and self._flags):
            return False
        found = self.tunnel.keypair_of(data[prefix:])
        peer = self.peers.by_key.get(found[0].remote) if found is not None else None
        if found is None or peer is None or found[1] is not found[0].current or not found[1].usable(now):
            return False
        large, (session, keypair) = rows_loader.large(), found
        opened = large.unseal(keypair, data, size, chunks=chunks, prefix=prefix) if large is not None else None
        if opened is None:
            return False
        rebuilt = large.rebuild(opened, chunks=chunks)
        if rebuilt is None and not chunks:
            self._on_input(self.tunnel.accepted(session, keypair, opened.payloads(), now), path, now)
            return True
        session.received(keypair, True, now)
        if session.attempt_due_s <= now:
            self.outbox.due(peer, now)
        self._heard(peer, None, path, now)
        if rebuilt is not None:
            self.plane.rebuilt_in(peer, rebuilt, now)
        else:
            self.plane.large_in(peer, opened.payloads(), now)
        self._log_foreign(peer)
        return True

    def receive_run(
        self, datagrams: Sequence[bytes | memoryview], source: Endpoint, now: float, local: int = 0
    ) -> None:
        """Takes datagrams of one size and source that came in one read."""
        kind = messages.message_type(datagrams[0])
        path = Path(source, 0, local)
        if kind == messages.RELAY and self.servers.at(source) is not None:
            head = bytes(datagrams[0][: messages.RELAY_HEAD.size])
            if all(datagram[: messages.RELAY_HEAD.size] == head for datagram in datagrams):
                path = Path(source, messages.RELAY_HEAD.unpack(head)[1])
                datagrams = [datagram[messages.RELAY_HEAD.size :] for datagram in datagrams]
                kind = messages.message_type(datagrams[0])
        if kind == messages.BULK:
            self._on_bulk(datagrams, path, now)
            return
        if kind != messages.TRANSPORT:
            for datagram in datagrams:
                self.receive(bytes(datagram), source, now, local)
            return
        result = self.tunnel.receive_run(datagrams, now)
        if result is not None:
            self._on_input(result, path, now)

    def _on_stun(self, datagram: bytes, now: float) -> None:
        try:
            transaction, mapped = stun.read_response(datagram)
        except MalformedMessage:
            return
        probed = self.puncher.on_stun(transaction, mapped, now)
        if probed is not None:
            self.outbox.due(probed, now)
        self.servers.on_stun(transaction, mapped, now)

    def _on_bulk(self, datagrams: Sequence[bytes | memoryview], path: Path, now: float) -> None:
        found = self.tunnel.keypair_of(datagrams[0])
        if found is None or not self._flags or not found[1].usable(now):
            return
        session, keypair = found
        index = datagrams[0][4:8]
        plains = bulk.unseal(keypair, [datagram for datagram in datagrams if datagram[4:8] == index])
        peer = self.peers.by_key.get(session.remote)
        if not plains or peer is None:
            return
        if session.received(keypair, True, now):
            self._on_established(peer, None, path, now)
        self._heard(peer, None, path, now)
        self.plane.large_in(peer, plains, now)
        self._log_foreign(peer)

    def _log_foreign(self, peer: Peer) -> None:
        if peer.foreign and not peer.foreign_logged:  # once: who sends many must not fill the log
            peer.foreign_logged = True
            self.outbox.events.append(f"{peer.name} sends with an address that is not its own; dropped")

    def _on_input(self, result: Input, path: Path, now: float) -> None:
        link = self.servers.of(result.session.remote)
        peer = link.peer if link is not None else self.peers.by_key[result.session.remote]
        if result.reply is not None:
            self.outbox.send(path, result.reply)
        if result.reply is None or result.established:
            self._heard(peer, link, path, now)
        if result.established:
            self._on_established(peer, link, path, now)
        inner = [payload for payload in result.payloads if payload[0] >> 4]
        if inner:
            self.plane.packets_in(peer, inner, now)
            self._log_foreign(peer)
        if len(inner) < len(result.payloads):
            for payload in result.payloads:
                if not payload[0] >> 4:
                    self._on_control(peer, link, payload, path, now)
        self.outbox.due(peer, result.session.deadline())

    def _heard(self, peer: Peer, link: ServerLink | None, path: Path, now: float) -> None:
        if link is not None:
            self.servers.heard(link, path.endpoint, now)
        elif peer.finder is None:
            peer.take(path)
        elif peer.path is None and (path.direct or self.config.mode != "direct"):
            # Better the way that the peer came than none; the checks will say more.
            if path.direct:
                peer.finder.add(path.endpoint, PEER_REFLEXIVE, now, path.local)
            self.peers.use(peer, peer.finder.best or path, now)

    def _on_established(self, peer: Peer, link: ServerLink | None, path: Path, now: float) -> None:
        if link is not None:
            self.servers.on_established(link, now)
        if peer.finder is not None:
            self.peers.use(peer, peer.finder.best or peer.path or path, now)
            if peer.session.previous is None or peer.path is None or not peer.path.direct:
                peer.finder.restart(now)
            else:
                peer.finder.suspect(now)  # the peer may have started anew, elsewhere
            self.outbox.due(peer, now)
        staged = list(peer.session.staged)
        peer.session.staged.clear()
        if staged:
            self.egress.send(peer, staged, now)

    def _on_control(self, peer: Peer, link: ServerLink | None, payload: bytes, path: Path, now: float) -> None:
        try:
            kind, body = control.read(payload)
            if kind in (control.PING, control.PONG):
                self._on_check(peer, payload, path, now)
            elif kind == control.ETHERNET and self.config.layer == "l2":
                self.plane.frame_in(peer, body, now)
            elif kind == control.PUNCH and link is not None:
                self.holes.on_punch(link, control.read_json(body), now)
            elif kind == control.UPDATE and link is not None:
                self.servers.on_update(link, control.read_json(body), now)
                self.egress.release_held(now)
        except (MalformedMessage, KeyError, TypeError, ValueError, IndexError) as error:
            self.outbox.events.append(f"{peer.name} sent nonsense: {error}")

    def _on_check(self, peer: Peer, payload: bytes, path: Path, now: float) -> None:
        kind, body = control.read(payload)
        peer.bulk = bool(payload[1] & self._flags & control.READS_BULK)
        transaction = body[: control.TRANSACTION_LEN]
        if kind == control.PING:
            seen = control.pack_endpoint(path.endpoint if path.direct else None)
            self.outbox.send_sealed(peer, control.frame(control.PONG, transaction + seen, self._flags), path, now)
            if peer.finder is not None:
                peer.finder.on_ping(path, now)
                self.outbox.due(peer, now)
        elif peer.finder is not None:
            peer.finder.on_pong(transaction, path, now)
            self.peers.use(peer, peer.finder.best, now)

    # --- time

    def tick(self, now: float) -> None:
        """Does what is due and sets the next deadline."""
        self.mappings.tick(now)
        self.servers.tick(now)
        for peer in list(self.peers.by_key.values()):
            if peer.due_s <= now:
                self._upkeep.tick(peer, now)
        next_peer_s = min((peer.due_s for peer in self.peers.by_key.values()), default=math.inf)
        self.outbox.deadline = min(self.servers.deadline(), self.mappings.deadline(), next_peer_s)
