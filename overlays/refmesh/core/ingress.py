"""What comes in: whose datagram it is, whether it authenticates, and what is in it.

Datagrams of a run are opened together, those of a large transfer as rows of one array; a small packet of a peer with
which all is well has a short way. What an authentic message then changes is `reactions.py`'s matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from overlays.refmesh.core import bulk, rows_loader
from overlays.refmesh.core.check import Path
from overlays.refmesh.core.dataplane import DataPlane
from overlays.refmesh.core.guard import Guard
from overlays.refmesh.core.lane import IPV4, Inlet
from overlays.refmesh.core.mappings import Mappings
from overlays.refmesh.core.outbox import Outbox
from overlays.refmesh.core.peers import Peers
from overlays.refmesh.core.puncher import Puncher
from overlays.refmesh.core.reactions import Reactions
from overlays.refmesh.core.servers import Servers
from overlays.refmesh.core.tunnel import Tunnel
from overlays.refmesh.errors import MalformedMessage
from overlays.refmesh.wire import messages, stun
from overlays.refmesh.wire.control import Endpoint

ROW_OCTETS = 500
"""Shorter datagrams are no large transfer, but checks of many peers that the kernel gave in one read."""


class Ingress:
    """Takes datagrams from the sockets and streams of one node."""

    def __init__(
        self,
        *,
        tunnel: Tunnel,
        peers: Peers,
        servers: Servers,
        plane: DataPlane,
        puncher: Puncher,
        mappings: Mappings,
        reactions: Reactions,
        outbox: Outbox,
        guard: Guard,
        reads_bulk: bool,
        on_mapped: Callable[[float], None],
    ) -> None:
        """`reads_bulk`: whether the bulk framing is taken; `on_mapped(now)`: a router has changed a mapping of ours."""
        self._tunnel, self._peers, self._servers, self._plane = tunnel, peers, servers, plane
        self._puncher, self._mappings, self._reactions, self._outbox = puncher, mappings, reactions, outbox
        self._guard = guard
        self._reads_bulk, self._on_mapped = reads_bulk, on_mapped
        self.inlets: dict[int, Inlet] = {}
        """Short ways of small packets, by receiver index."""

    def receive(self, datagram: bytes, source: Endpoint, now: float, local: int = 0) -> None:
        """Take one datagram from a socket, by its number, or from a stream."""
        try:
            self._receive(datagram, source, now, local)
        except Exception as error:
            self._guard.caught(error, now)

    def _receive(self, datagram: bytes, source: Endpoint, now: float, local: int) -> None:
        if self._receive_packet(datagram, source, now, local):
            return
        path = Path(source, 0, local)
        if messages.message_type(datagram) == messages.RELAY:
            if len(datagram) <= messages.RELAY_HEAD.size or self._servers.at(source) is None:
                return
            path = Path(source, messages.RELAY_HEAD.unpack_from(datagram)[1])
            datagram = datagram[messages.RELAY_HEAD.size :]
        elif stun.is_stun(datagram):
            self._on_stun(datagram, now)
            return
        if messages.message_type(datagram) == messages.BULK:
            self._on_bulk((datagram,), path, now)
            return
        if self._mappings.is_from_router(source):
            if self._mappings.receive(datagram, source, now):
                self._on_mapped(now)
            return
        result = self._tunnel.receive(datagram, source, now, path.relay)
        if isinstance(result, bytes):
            self._outbox.send(path, result)
        elif result is not None:
            self._reactions.on_input(result, path, now)

    def receive_rows(self, data: memoryview, size: int, source: Endpoint, now: float, local: int = 0) -> bool:
        """Take datagrams of `size` octets each, the last one perhaps shorter, that came in one read from one source.

        False, and nothing has happened: they are no large transfer, so `receive_run` must take them.
        """
        try:
            return self._receive_rows(data, size, source, now, local)
        except Exception as error:
            self._guard.caught(error, now)
            return True

    def _receive_rows(self, data: memoryview, size: int, source: Endpoint, now: float, local: int) -> bool:
        if size < ROW_OCTETS:
            return False
        kind, prefix, path = messages.message_type(data), 0, Path(source, 0, local)
        if kind == messages.RELAY and self._servers.at(source) is not None:
            prefix, path = messages.RELAY_HEAD.size, Path(source, messages.RELAY_HEAD.unpack_from(data)[1])
            kind = messages.message_type(data[prefix:])
        chunks = kind == messages.BULK
        if kind != messages.TRANSPORT and not (chunks and self._reads_bulk):
            return False
        found = self._tunnel.keypair_of(data[prefix:])
        peer = self._peers.by_key.get(found[0].remote) if found is not None else None
        if found is None or peer is None or found[1] is not found[0].current or not found[1].usable(now):
            return False
        large, (session, keypair) = rows_loader.large(), found
        opened = large.unseal(keypair, data, size, chunks=chunks, prefix=prefix) if large is not None else None
        if opened is None:
            return False
        rebuilt = large.rebuild(opened, chunks=chunks)
        if rebuilt is None and not chunks:
            self._reactions.on_input(self._tunnel.accepted(session, keypair, opened.payloads(), now), path, now)
            return True
        session.received(keypair, True, now)
        if session.attempt_due_s <= now:
            self._outbox.due(peer, now)
        self._reactions.heard(peer, None, path, now)
        if rebuilt is not None:
            self._plane.rebuilt_in(peer, rebuilt, now)
        else:
            self._plane.large_in(peer, opened.payloads(), now)
        self._reactions.log_foreign(peer)
        return True

    def receive_run(
        self, datagrams: Sequence[bytes | memoryview], source: Endpoint, now: float, local: int = 0
    ) -> None:
        """Take datagrams of one size and source that came in one read."""
        try:
            for run in messages.runs(datagrams):
                self._receive_run(run, source, now, local)
        except Exception as error:
            self._guard.caught(error, now)

    def _receive_run(self, run: Sequence[bytes | memoryview], source: Endpoint, now: float, local: int) -> None:
        """Take datagrams that begin alike."""
        if messages.message_type(run[0]) != messages.RELAY or self._servers.at(source) is None:
            self._receive_same(run, Path(source, 0, local), now)
        elif len(run[0]) > messages.RELAY_HEAD.size:
            path = Path(source, messages.RELAY_HEAD.unpack_from(run[0])[1])
            for inner in messages.runs([datagram[messages.RELAY_HEAD.size :] for datagram in run]):
                self._receive_same(inner, path, now)

    def _receive_same(self, datagrams: Sequence[bytes | memoryview], path: Path, now: float) -> None:
        """Take messages of one type and index."""
        kind = messages.message_type(datagrams[0])
        if kind == messages.BULK:
            self._on_bulk(datagrams, path, now)
            return
        if kind != messages.TRANSPORT:
            head = messages.RELAY_HEAD.pack(messages.RELAY, path.relay) if path.relay else b""
            for datagram in datagrams:
                self.receive(head + datagram, path.endpoint, now, path.local)
            return
        result = self._tunnel.receive_run(datagrams, now)
        if result is not None:
            self._reactions.on_input(result, path, now)

    def _receive_packet(self, datagram: bytes, source: Endpoint, now: float, local: int) -> bool:
        """Take an IP packet of a peer with which all is well, as nearly all datagrams are; False: what else it may be.

        It does what `Reactions.on_input` does, without the questions that the answer to is known then.
        """
        if len(datagram) < messages.TRANSPORT_MIN_LEN:
            return False
        kind, index, counter = messages.TRANSPORT_HEAD.unpack_from(datagram)
        if kind != messages.TRANSPORT:
            return False
        inlet = self.inlets.get(index)
        if inlet is not None:
            packet = inlet.open(counter, datagram[messages.TRANSPORT_HEADER_LEN :], now)
            if packet is not None:
                self._plane.to_tun.append(packet)
                inlet.note(len(packet), now)
                if not inlet.from_path(source):
                    self._reactions.heard(inlet.peer, None, Path(source, 0, local), now)
                return True
            self.inlets.clear()
        return self._receive_message(datagram, index, source, now, local)

    def _receive_message(self, datagram: bytes, index: int, source: Endpoint, now: float, local: int) -> bool:
        session, keypair = self._tunnel.keypair_of(datagram) or (None, None)
        if session is None or keypair is None or keypair is not session.current or not keypair.usable(now):
            return False
        peer = self._peers.by_key.get(session.remote)
        if peer is None or peer.finder is None or peer.path is None:
            return False
        payload = keypair.open(datagram)
        if payload and payload[0] >> 4:
            session.received(keypair, True, now)
            if session.attempt_due_s <= now:
                self._outbox.due(peer, now)
            self._plane.packets_in(peer, (payload,), now)
            self._reactions.log_foreign(peer)
            if source != peer.path.endpoint:
                self._reactions.heard(peer, None, Path(source, 0, local), now)
            if payload[0] == IPV4 and not self._plane.layer_2 and Inlet.possible(peer):
                self.inlets[index] = Inlet(peer, keypair, self._plane.routes)
        elif payload is not None:
            self._reactions.on_input(
                self._tunnel.accepted(session, keypair, [payload], now), Path(source, 0, local), now
            )
        return True

    def _on_stun(self, datagram: bytes, now: float) -> None:
        try:
            transaction, mapped = stun.read_response(datagram)
        except MalformedMessage:
            return
        probed = self._puncher.on_stun(transaction, mapped, now)
        if probed is not None:
            self._outbox.due(probed, now)
        self._servers.on_stun(transaction, mapped, now)

    def _on_bulk(self, datagrams: Sequence[bytes | memoryview], path: Path, now: float) -> None:
        found = self._tunnel.keypair_of(datagrams[0])
        if found is None or not self._reads_bulk or not found[1].usable(now):
            return
        session, keypair = found
        index = datagrams[0][4:8]
        plains = bulk.unseal(keypair, [datagram for datagram in datagrams if datagram[4:8] == index])
        peer = self._peers.by_key.get(session.remote)
        if not plains or peer is None:
            return
        if session.received(keypair, True, now):
            self._reactions.on_established(peer, None, now)
        self._reactions.heard(peer, None, path, now)
        self._plane.large_in(peer, plains, now)
        self._reactions.log_foreign(peer)
