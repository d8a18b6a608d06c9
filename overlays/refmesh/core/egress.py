"""What our host sends: to whom it goes, whether it may, sealed for the path in use."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from overlays.refmesh.core import bulk, packets, rows_loader
from overlays.refmesh.core.connectivity import SILENCE_S
from overlays.refmesh.core.dataplane import DataPlane
from overlays.refmesh.core.outbox import Outbox
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.core.peers import Peers
from overlays.refmesh.core.probing import LARGE, Probing
from overlays.refmesh.core.servers import Servers
from overlays.refmesh.wire import control

if TYPE_CHECKING:
    from overlays.refmesh.core.rows import Run

HOLD_S, HELD_PACKETS = 2.0, 64
"""A packet for no known peer waits so long: its destination may be about to be told of by a server."""


class Egress:
    """The way of packets and frames out of the TUN or TAP device."""

    def __init__(self, plane: DataPlane, peers: Peers, servers: Servers, outbox: Outbox, probing: Probing) -> None:
        self._plane, self._peers, self._servers, self._outbox = plane, peers, servers, outbox
        self._probing = probing
        self._held: deque[tuple[float, bytes]] = deque(maxlen=HELD_PACKETS)

    def packets(self, batch: Sequence[bytes], now: float) -> None:
        """Packets of one destination from the TUN device."""
        peer = self._plane.routes.find(packets.destination_bytes(batch[0]))
        if peer is not None:
            self.send(peer, batch, now)
        else:
            self._held.extend((now + HOLD_S, packet) for packet in batch)

    def release_held(self, now: float) -> None:
        """Send what was meant for somebody who has become known only now."""
        if not self._held:
            return
        held = [packet for until_s, packet in self._held if until_s > now]
        self._held.clear()
        for packet in held:
            self.packets((packet,), now)

    def frame(self, frame: bytes, now: float) -> None:
        """Return an Ethernet frame from the TAP device."""
        payload = [control.frame(control.ETHERNET, frame)]
        for peer in self._plane.frame_targets(frame, self._peers.by_key.values(), self._servers.hub, now):
            self.send(peer, payload, now)

    def send(self, peer: Peer, batch: Sequence[bytes], now: float) -> None:
        """Send payloads to a peer on its path, or keeps them until there are keys."""
        sealed = self.sealed(peer, batch, now)
        if sealed is None or peer.path is None:
            return
        endpoint, prefix, local = peer.path.endpoint, peer.prefix, peer.path.local
        if local:
            self._outbox.fresh.extend((local, message, endpoint) for message in sealed)
        else:
            self._outbox.main.extend(
                [(prefix + message, endpoint) for message in sealed] if prefix else [(m, endpoint) for m in sealed]
            )

    def sealed(self, peer: Peer, batch: Sequence[bytes], now: float) -> list[bytes] | None:
        """Packets for a peer, sealed; None while there are no keys or no path, or when the access rules forbid them."""
        if batch[0][0] >> 4:
            if peer.loops(batch[0]):
                self._log_loop(peer)
                return None
            if not self._plane.may_go(peer, batch[0], now):
                return None
        if peer.path is None:
            peer.session.stage(batch, now)
            self._outbox.due(peer, now)
            return None
        longest = max(map(len, batch))
        if longest > LARGE:
            self._probing.large_sent(peer, now)
            if longest > peer.limit:
                batch = self._probing.fitted(peer, batch)
                if not batch:
                    return []
        sealed = peer.session.sealed(batch, now)
        peer.tx_bytes += sum(map(len, batch))
        peer.data_sent_s = now
        if sealed is None or now - peer.session.last_received_s > SILENCE_S:
            self._outbox.due(peer, now)
        return sealed

    def segment(self, peer: Peer, packet: memoryview, start: int, size: int, now: float) -> int:
        """How many octets of data a segment of a large TCP packet shall have, when the kernel says `size`."""
        data = start + (packet[start + 12] >> 4) * 4
        if data + size <= LARGE:
            return size
        self._probing.large_sent(peer, now)
        return self._probing.segment(peer, packet, data, size, now)

    def seal_rows(self, peer: Peer, packet: memoryview, start: int, size: int, now: float) -> Run | None:
        """Return a large TCP packet as datagrams in one buffer, ready for the peer's path; None: go another way."""
        large, keypair, path = rows_loader.large(), peer.session.current, peer.path
        if (
            large is None
            or keypair is None
            or path is None
            or now >= keypair.fresh_until_s
            or path.endpoint[0] == "tls"
        ):
            return None
        if not self._plane.may_go(peer, bytes(packet[:60]), now):
            return None
        run: Run | None = large.seal(keypair, packet, start, size, chunks=peer.bulk, prefix=peer.prefix)
        if run is not None:
            self._note_sent(peer, len(packet), now)
        return run

    def seal_large(self, peer: Peer, packet: memoryview, start: int, size: int, now: float) -> list[bytes] | None:
        """Return a large TCP packet as chunks, if the peer reads them and the keys are fresh; None: go plainly."""
        keypair = peer.session.current
        if not peer.bulk or keypair is None or now >= keypair.fresh_until_s or peer.path is None:
            return None
        if not self._plane.may_go(peer, bytes(packet[:60]), now):
            return []
        data = start + (packet[start + 12] >> 4) * 4
        self._note_sent(peer, len(packet), now)
        return bulk.seal(keypair, packet, start, data, size)

    def _log_loop(self, peer: Peer) -> None:
        if not peer.loop_logged:
            peer.loop_logged = True
            self._outbox.events.append(f"the route to {peer.name}'s endpoint leads through the tunnel itself; dropped")

    def _note_sent(self, peer: Peer, octets: int, now: float) -> None:
        peer.session.note_sent(now)
        peer.tx_bytes += octets
        peer.data_sent_s = now
        if now - peer.session.last_received_s > SILENCE_S:
            self._outbox.due(peer, now)
