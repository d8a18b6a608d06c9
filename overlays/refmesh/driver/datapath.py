"""The way of packets between the TUN or TAP device and the UDP sockets: everything that runs once a packet."""

from __future__ import annotations

import contextlib
import math
import struct

from overlays.refmesh.core import bulk, offload, packets
from overlays.refmesh.core.ingress import ROW_OCTETS
from overlays.refmesh.core.lane import Lane
from overlays.refmesh.core.node import Node
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.core.probing import LARGE
from overlays.refmesh.driver.crowd import Crowd
from overlays.refmesh.driver.eagerness import Eagerness
from overlays.refmesh.driver.near import NearSocket
from overlays.refmesh.driver.shortway import ShortWay
from overlays.refmesh.driver.sockets import UNUSED_S, NodeSockets
from overlays.refmesh.driver.stage import Stage
from overlays.refmesh.driver.streams import NodeStreams
from overlays.refmesh.driver.tun import MAX_READ, NOTHING, VNET_HEADER_LEN, Tun
from overlays.refmesh.driver.udp import READS_PER_ROUND, UdpSocket
from overlays.refmesh.driver.warmth import Warmth

_GSO_SIZE = struct.Struct("<H")
SMALL = 2000
"""Octets: a read of less is no part of a bulk transfer."""


class Datapath:
    """Reads the device and the sockets of one node."""

    def __init__(self, node: Node, tun: Tun, streams: NodeStreams) -> None:
        self._node, self._tun, self._streams = node, tun, streams
        crowd = Crowd()
        self.eagerness = Eagerness(crowd)
        self._layer_2 = node.config.layer == "l2"
        self._read = tun.file.readinto
        self._read_buffer = bytearray(MAX_READ)
        self._read_view = memoryview(self._read_buffer)
        self._short = ShortWay(tun.file, self._read_buffer, node.ingress.inlets, node.ingress.receive)
        self._near: NearSocket | None = None
        self._stage: Stage | None = None
        with contextlib.suppress(OSError):
            self._stage = Stage()
        self.warmth = Warmth(self._rehearse, crowd)
        self.sockets: NodeSockets
        """Set it before anything is read."""

    def on_tun(self, now: float) -> bool:
        """Note that the device is readable. Return whether all that follows is done."""
        for _ in range(READS_PER_ROUND):
            ask = self.eagerness.ask and self.warmth.until_s > now
            length = self._forward(now, ask=ask)
            if length < SMALL and not self._layer_2:
                # Nothing waits behind a small packet, nearly always; asking costs more than epoll's saying so.
                if length:
                    return self._sent(now, asked=ask)
                break
            if not length:
                break
            self.warmth.transfer(now)
        return self._finish()

    def _sent(self, now: float, *, asked: bool = False) -> bool:
        """Do what follows from a small packet of our host; return whether that is all."""
        came = self._short.came
        self.eagerness.sent(now, answered=came is not None if asked else None)
        self.warmth.packet(now)
        if self._short.used is None or came is False:
            return self._finish()
        return True

    def _finish(self) -> bool:
        """Do what follows from something that went the general way, and leave the rest to others."""
        plane, outbox = self._node.plane, self._node.outbox
        if plane.to_tun or plane.large:
            self.write_tun()
        if outbox.main or outbox.fresh:
            self.sockets.flush()
        return False

    def _forward(self, now: float, *, ask: bool = False) -> int:
        """Send what one read of the device gives; return its octets, 0 when there was nothing.

        With `ask` an answer that is there by then is taken as well.
        """
        try:
            length = self._read(self._read_buffer) or 0
        except OSError as error:
            self._tun.refuse(error, NOTHING)
            return 0
        if length and (length >= SMALL or self._layer_2 or not self._short.out(length, now, ask=ask)):
            self._short.used = self._short.came = None
            self._outbound(self._read_view[:length], now)
        return length

    def _open_lane(self, peer: Peer, destination: bytes, now: float) -> None:
        """Let the next packet to this IPv4 address go the short way."""
        if len(destination) != 4 or not Lane.possible(peer) or peer.path is None:
            return
        if packets.address_text(destination) == peer.path.endpoint[0]:
            return  # what we send there ourselves must not go this way; that is looked at elsewhere
        if self.sockets.near_is_full():
            self.forget_near(now - UNUSED_S)
        near = self.sockets.near(peer.path.endpoint)
        if near is not None:
            self._short.open_lane(destination, Lane(peer, self._node.plane.routes), near)

    def _rehearse(self, now: float) -> bool:
        """Do all that a packet needs without one; return whether that is all, as there may be one by now."""
        near, done = self._near, True
        if near is not None and near.single:
            done = self.on_near(near, now)
        if self._forward(now):
            done = self._sent(now) and done
        if self._stage is not None:
            self._stage.rehearse(now)
        return done

    def forget_near(self, unused_since_s: float = math.inf) -> None:
        """Close near sockets that nothing has come from since then; without: all."""
        self._short.clear()
        self._near = None
        self.sockets.close_near(unused_since_s)

    def _outbound(self, data: memoryview, now: float) -> None:
        node, egress, packet = self._node, self._node.egress, data[VNET_HEADER_LEN:]
        if self._layer_2:
            # A TAP device does not segment for us: the kernel hands over frames, checksums perhaps still to be made.
            egress.frame(offload.complete(bytes(data[:VNET_HEADER_LEN]), bytes(packet)), now)
            return
        destination = packets.destination_bytes(bytes(packet[:40]))
        peer = node.plane.routes.find(destination)
        if peer is None:
            if len(packet) < SMALL:
                egress.packets((bytes(packet),), now)
            return
        if data[1] and self._outbound_large(peer, data, now):
            return
        packets_ = offload.split(bytes(data[:VNET_HEADER_LEN]), bytes(packet))
        sealed = egress.sealed(peer, packets_, now) if packets_ else None
        if sealed is not None:
            self._send(peer, sealed, now)
            if len(packet) <= LARGE:
                self._open_lane(peer, destination, now)

    def _outbound_large(self, peer: Peer, data: memoryview, now: float) -> bool:
        """Send a packet with a gso_type all at once, if that can be."""
        _, gso_type, _, size, start, _ = offload.HEADER.unpack_from(data)
        packet = data[VNET_HEADER_LEN:]
        data_at = bulk.sealable(gso_type, start, packet) if size else 0
        if not data_at:
            return False
        size = min(size, len(packet) - data_at)
        fitting = self._node.egress.segment(peer, packet, start, size, now)
        if fitting < size:
            size = fitting
            _GSO_SIZE.pack_into(data, 4, size)  # for whoever cuts it
        run = self._node.egress.seal_rows(peer, packet, start, size, now)
        if run is not None:
            assert peer.path is not None
            sock = self.sockets.find(peer.path.endpoint, peer.path.local)
            if sock is not None:
                sock.send_segmented(run.data, run.size, peer.path.endpoint)
            return True
        sealed = self._node.egress.seal_large(peer, packet, start, size, now)
        if sealed is not None:
            self._send(peer, sealed, now)
        return sealed is not None

    def _send(self, peer: Peer, sealed: list[bytes], now: float) -> None:
        if peer.path is None:
            return
        if peer.prefix:
            sealed = [peer.prefix + message for message in sealed]
        endpoint = peer.path.endpoint
        sock = self.sockets.find(endpoint, peer.path.local)
        if sock is not None:
            sock.send_run(sealed, endpoint)
            if endpoint[0] == "tls":
                self._streams.used(endpoint[1], now)

    def on_near(self, near: NearSocket, now: float) -> bool:
        """Note that a near socket is readable."""
        self._near = near
        if not near.single:
            near.used_s = now
            done = self.on_udp(near, 0, now)
            if self.warmth.packet(now):
                near.settle()
            return done
        taken = self._short.take(near, now)
        if taken is None:
            return True
        near.used_s = now
        if taken:
            # What our host says to that is there by now: an echo reply, an acknowledgement, the next data.
            self._short.used = near
            self._forward(now)
            taken = self._short.used is not None
        if self._short.octets >= ROW_OCTETS:
            self.warmth.transfer(now)
        if not self.warmth.packet(now):
            near.join()
        return taken or self._finish()

    def on_udp(self, sock: UdpSocket, local: int, now: float) -> bool:
        """Note that a socket is readable; `local` is its number. Return whether all that follows is done."""
        node = self._node
        for _ in range(READS_PER_ROUND):
            received = sock.receive()
            if received is None:
                break
            view, size, source = received
            length = len(view)
            if size >= length:
                node.ingress.receive(bytes(view), source, now, local)
            elif not node.ingress.receive_rows(view, size, source, now, local):
                node.ingress.receive_run([view[i : i + size] for i in range(0, length, size)], source, now, local)
            if node.plane.to_tun or node.plane.large:
                self.write_tun()
                self._forward(now)
            if length < SMALL:
                break
            self.warmth.transfer(now)
        return self._finish()

    def write_tun(self) -> None:
        """Give our host what is for it."""
        plane = self._node.plane
        if len(plane.to_tun) == 1 and not plane.large:
            self._tun.write((offload.PLAIN_HEADER, plane.to_tun.pop()))
            return
        # Taken before anything is done with them: what fails once is lost, and does not fail again and again.
        large, small = plane.large[:], plane.to_tun[:]
        plane.large.clear()
        plane.to_tun.clear()
        for buffers in large:
            self._tun.write(buffers)
        if self._layer_2:
            for frame in small:
                self._tun.write((offload.PLAIN_HEADER, frame))
        else:
            for merged in offload.merge(small):
                self._tun.write(merged)
