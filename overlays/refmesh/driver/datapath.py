"""The way of packets between the TUN or TAP device and the UDP sockets: everything that runs once a packet."""

from __future__ import annotations

import errno
import os

from overlays.refmesh.core import bulk, offload, packets
from overlays.refmesh.core.lane import IPV4, Lane
from overlays.refmesh.core.node import Node
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.driver.eagerness import Eagerness
from overlays.refmesh.driver.sockets import NodeSockets
from overlays.refmesh.driver.streams import NodeStreams
from overlays.refmesh.driver.tun import MAX_READ, VNET_HEADER_LEN, Tun
from overlays.refmesh.driver.udp import READS_PER_ROUND, UdpSocket

SMALL = 2000
"""Octets: a read of less is no part of a bulk transfer."""
MAX_LANES = 256


class Datapath:
    """Reads the device and the sockets of one node."""

    def __init__(self, node: Node, tun: Tun, streams: NodeStreams) -> None:
        self._node, self._tun, self._streams = node, tun, streams
        self.eagerness = Eagerness()
        self._layer_2 = node.config.layer == "l2"
        self._read_buffer = bytearray(MAX_READ)
        self._read_view = memoryview(self._read_buffer)
        self._lanes: dict[bytes, tuple[Lane, UdpSocket]] = {}
        self.sockets: NodeSockets
        """Set it before anything is read."""

    def on_tun(self, now: float) -> None:
        """The device is readable."""
        for _ in range(READS_PER_ROUND):
            length = self._forward(now)
            if length < SMALL and not self._layer_2:
                # Nothing waits behind a small packet, nearly always; asking costs more than epoll's saying so.
                if length:
                    self.eagerness.sent(now)
                break
            if not length:
                break
        if self._node.outbox.main:
            self.sockets.flush()

    def _forward(self, now: float) -> int:
        """Sends what one read of the device gives; returns its octets, 0 when there was nothing."""
        try:
            length = os.readv(self._tun.fd, (self._read_buffer,))
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno == errno.EBADFD:
                return 0
            raise
        buffer = self._read_buffer
        if length >= SMALL or buffer[1] or buffer[VNET_HEADER_LEN] != IPV4 or not self._by_lane(length, now):
            self._outbound(self._read_view[:length], now)
        return length

    def _by_lane(self, length: int, now: float) -> bool:
        """Sends a small IPv4 packet the short way, if there is one."""
        buffer = self._read_buffer
        found = self._lanes.get(bytes(buffer[26:30]))
        if found is None:
            return False
        packet = bytes(self._read_view[VNET_HEADER_LEN:length])
        if buffer[0]:
            packet = offload.complete(bytes(buffer[:VNET_HEADER_LEN]), packet)
        lane, sock = found
        datagram = lane.seal(packet, now)
        if datagram is None:
            self._lanes.clear()
            return False
        sock.send(datagram, lane.path.endpoint)
        return True

    def _open_lane(self, peer: Peer, destination: bytes) -> None:
        """The next packet to this IPv4 address goes the short way."""
        if len(self._lanes) >= MAX_LANES:
            self._lanes.clear()
        if len(destination) == 4 and Lane.possible(peer) and peer.path is not None:
            sock = self.sockets.find(peer.path.endpoint, 0)
            if isinstance(sock, UdpSocket):
                self._lanes[destination] = Lane(peer, self._node.plane.routes), sock

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
            self._open_lane(peer, destination)

    def _outbound_large(self, peer: Peer, data: memoryview, now: float) -> bool:
        """Sends a packet with a gso_type all at once, if that can be."""
        _, gso_type, _, size, start, _ = offload.HEADER.unpack_from(data)
        packet = data[VNET_HEADER_LEN:]
        if not size or not bulk.sealable(gso_type, start, packet):
            return False
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

    def on_udp(self, sock: UdpSocket, local: int, now: float) -> None:
        """A socket is readable; `local` is its number."""
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
                # What our host says to that is there by now: an echo reply, an acknowledgement, the next data.
                self._forward(now)
            if length < SMALL:
                break
        if node.outbox.main or node.outbox.fresh:
            self.sockets.flush()

    def write_tun(self) -> None:
        """Gives our host what is for it."""
        plane = self._node.plane
        if len(plane.to_tun) == 1 and not plane.large:
            self._tun.write((offload.PLAIN_HEADER, plane.to_tun.pop()))
            return
        for buffers in plane.large:
            self._tun.write(buffers)
        plane.large.clear()
        if self._layer_2:
            for frame in plane.to_tun:
                self._tun.write((offload.PLAIN_HEADER, frame))
        else:
            for merged in offload.merge(plane.to_tun):
                self._tun.write(merged)
        plane.to_tun.clear()
