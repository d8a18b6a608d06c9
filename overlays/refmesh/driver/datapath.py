"""The way of packets between the TUN or TAP device and the UDP sockets: everything that runs once a packet."""

from __future__ import annotations

import errno
import os

from overlays.refmesh.core import bulk, offload, packets
from overlays.refmesh.core.node import Node
from overlays.refmesh.driver.sockets import NodeSockets
from overlays.refmesh.driver.streams import NodeStreams
from overlays.refmesh.driver.tun import MAX_READ, VNET_HEADER_LEN, Tun
from overlays.refmesh.driver.udp import READS_PER_ROUND, UdpSocket

SMALL = 2000
"""Octets: a read of less is no part of a bulk transfer."""


class Datapath:
    """Reads the device and the sockets of one node."""

    def __init__(self, node: Node, tun: Tun, streams: NodeStreams) -> None:
        self._node, self._tun, self._streams = node, tun, streams
        self._layer_2 = node.config.layer == "l2"
        self._read_buffer = bytearray(MAX_READ)
        self._read_view = memoryview(self._read_buffer)
        self.sockets: NodeSockets
        """Set it before anything is read."""

    def on_tun(self, now: float) -> None:
        """The device is readable."""
        for _ in range(READS_PER_ROUND):
            try:
                length = os.readv(self._tun.fd, (self._read_buffer,))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.EBADFD:
                    return
                raise
            self._outbound(self._read_view[:length], now)
            if length < SMALL and not self._layer_2:
                # Nothing waits behind a small packet, nearly always; asking costs more than epoll's saying so.
                break
        if self._node.outbox.main:
            self.sockets.flush()

    def _outbound(self, data: memoryview, now: float) -> None:
        node, egress, packet = self._node, self._node.egress, data[VNET_HEADER_LEN:]
        if self._layer_2:
            # A TAP device does not segment for us: the kernel hands over frames, checksums perhaps still to be made.
            egress.frame(offload.complete(bytes(data[:VNET_HEADER_LEN]), bytes(packet)), now)
            return
        peer = node.plane.routes.find(packets.destination_bytes(bytes(packet[:40])))
        if peer is None:
            if len(packet) < SMALL:
                egress.packets((bytes(packet),), now)
            return
        flags, gso_type, _, size, start, _ = offload.HEADER.unpack_from(data)
        sealed = None
        if gso_type:
            if bulk.sealable(gso_type, start, packet) and size:
                sealed = egress.seal_large(peer, packet, start, size, now)
            if sealed is None:
                sealed = egress.sealed(peer, offload.split(bytes(data[:VNET_HEADER_LEN]), bytes(packet)), now)
        elif flags:
            sealed = egress.sealed(peer, (offload.complete(bytes(data[:VNET_HEADER_LEN]), bytes(packet)),), now)
        else:
            sealed = egress.sealed(peer, (bytes(packet),), now)
        if sealed is not None and peer.path is not None:
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
                node.receive(bytes(view), source, now, local)
            else:
                node.receive_run([view[i : i + size] for i in range(0, length, size)], source, now, local)
            if node.plane.to_tun or node.plane.large:
                self.write_tun()
            if length < SMALL:
                break
        if node.outbox.main or node.outbox.fresh:
            self.sockets.flush()

    def write_tun(self) -> None:
        """Gives our host what is for it."""
        plane = self._node.plane
        for buffers in plane.large:
            self._tun.write(buffers)
        plane.large.clear()
        if self._layer_2:
            for frame in plane.to_tun:
                self._tun.write((offload.PLAIN_HEADER, frame))
        else:
            for buffers in offload.merge(plane.to_tun):
                self._tun.write(buffers)
        plane.to_tun.clear()
