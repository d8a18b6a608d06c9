"""`refmesh up`: a TUN device, UDP sockets and the node engine, tied together."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import logging
import os
import socket
import sys
import time
from typing import Any

from overlays.refmesh import credentials, keys
from overlays.refmesh.config import Address, NodeConfig, ServerEntry
from overlays.refmesh.core import bulk, offload, packets
from overlays.refmesh.core.connectivity import HOST
from overlays.refmesh.core.known import known, ping, restore, status
from overlays.refmesh.core.node import Node
from overlays.refmesh.credentials import Certificate
from overlays.refmesh.driver import addresses
from overlays.refmesh.driver.files import write_atomically
from overlays.refmesh.driver.loop import Loop
from overlays.refmesh.driver.status import StatusSocket
from overlays.refmesh.driver.stream import Stream
from overlays.refmesh.driver.streams import NodeStreams
from overlays.refmesh.driver.tun import MAX_READ, VNET_HEADER_LEN, Tun
from overlays.refmesh.driver.udp import UdpSocket
from overlays.refmesh.errors import CredentialError, MachineError
from overlays.refmesh.wire.control import Endpoint

log = logging.getLogger("refmesh")
READS_PER_ROUND = 16
SAVE_EVERY_S = 5.0
FRESH_BUFFER = 1 << 18
SMALL = 2000
"""Octets: a read of less is no part of a bulk transfer."""


def resolve(address: Address) -> Address:
    """The address with its host name looked up; MachineError when there is no such host."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise MachineError(f"cannot find host {address.host}: {error}") from None
    return Address(str(found[0][4][0]), address.port)


def _resolved(entry: ServerEntry) -> ServerEntry:
    return dataclasses.replace(
        entry,
        endpoint=resolve(entry.endpoint),
        stun=resolve(entry.stun) if entry.stun else None,
        tls=resolve(entry.tls) if entry.tls else None,
    )


class NodeDriver:
    """Runs one node until told to stop."""

    def __init__(self, config: NodeConfig) -> None:
        """Opens everything; MachineError or CredentialError when something is lacking."""
        config = dataclasses.replace(config, servers=tuple(map(_resolved, config.servers)))
        self.config = config
        now, wall = time.monotonic(), time.time()
        certificate = own_certificate(config, wall)
        self.node = Node(config, certificate, os.urandom, wall - now)
        if config.policy is not None:
            self.node.set_policy(config.policy)
        self.sockets = open_sockets("", config.listen_port)
        self.fresh: dict[int, UdpSocket] = {}
        """Sockets opened to punch holes, by number."""
        self.tun = Tun(config.interface, tap=config.layer == "l2")
        # A frame has a header of its own, and the control frame around it another.
        self.tun.configure(self.node.addresses, config.mtu - (18 if config.layer == "l2" else 0))
        self.loop = Loop()
        self.status = StatusSocket(config.status_socket, self._answer) if config.status_socket else None
        self.streams = NodeStreams(self.node, self.loop)
        self._watch = addresses.watch()
        self._said_ready = False
        self._state_file = config.state_dir / "known.json" if config.state_dir else None
        self._saved, self._saved_s = "", now
        self._restore(now)
        self._read_buffer = bytearray(MAX_READ)
        self._read_view = memoryview(self._read_buffer)

    def run(self) -> None:
        """Works until SIGTERM or SIGINT."""
        loop, node = self.loop, self.node
        now = time.monotonic()
        node.network_changed(self._local(), now, self._routers())
        node.start(now)
        loop.add(self.tun.fd, self._on_tun)
        for sock in self.sockets.values():
            self._listen(sock, 0)
        loop.add(self._watch, self._on_change)
        if self.status is not None:
            loop.add(self.status, self.status.on_ready)
        try:
            self._after(now)
            loop.run(lambda: node.deadline, self._after)
        finally:
            self.close()

    def close(self) -> None:
        """Gives everything back."""
        self._save(time.monotonic())
        if self.status is not None:
            self.status.close()
        self.tun.close()
        self.streams.close()
        for sock in self.sockets.values():
            sock.close()

    def _on_tun(self, now: float) -> None:
        for _ in range(READS_PER_ROUND):
            try:
                length = os.readv(self.tun.fd, (self._read_buffer,))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.EBADFD:
                    return
                raise
            self._outbound(self._read_view[:length], now)
            if length < SMALL and self.config.layer == "l3":
                # Nothing waits behind a small packet, nearly always; asking costs more than epoll's saying so.
                break
        if self.node.out:
            self._flush()

    def _outbound(self, data: memoryview, now: float) -> None:
        node, packet = self.node, data[VNET_HEADER_LEN:]
        if self.config.layer == "l2":
            # A TAP device does not segment for us: the kernel hands over frames, checksums perhaps still to be made.
            node.frame_from_tap(offload.complete(bytes(data[:VNET_HEADER_LEN]), bytes(packet)), now)
            return
        peer = node.plane.routes.find(packets.destination_bytes(bytes(packet[:40])))
        if peer is None:
            if len(packet) < SMALL:
                node.from_tun((bytes(packet),), now)
            return
        flags, gso_type, _, size, start, _ = offload.HEADER.unpack_from(data)
        sealed = None
        if gso_type:
            if bulk.sealable(gso_type, start, packet) and size:
                sealed = node.seal_large(peer, packet, start, size, now)
            if sealed is None:
                sealed = node.sealed(peer, offload.split(bytes(data[:VNET_HEADER_LEN]), bytes(packet)), now)
        elif flags:
            sealed = node.sealed(peer, (offload.complete(bytes(data[:VNET_HEADER_LEN]), bytes(packet)),), now)
        else:
            sealed = node.sealed(peer, (bytes(packet),), now)
        if sealed is not None and peer.path is not None:
            if peer.prefix:
                sealed = [peer.prefix + message for message in sealed]
            endpoint = peer.path.endpoint
            sock = self._socket(endpoint, peer.path.local)
            if sock is not None:
                sock.send_run(sealed, endpoint)
                if endpoint[0] == "tls":
                    self.streams.used(endpoint[1], now)

    def _socket(self, endpoint: Endpoint, local: int) -> UdpSocket | Stream | None:
        if local:
            return self.fresh.get(local)
        if endpoint[0] == "tls":
            return self.streams.get(endpoint[1])
        return self.sockets.get(socket.AF_INET6 if ":" in endpoint[0] else socket.AF_INET)

    def _on_udp(self, sock: UdpSocket, local: int, now: float) -> None:
        node = self.node
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
                self._write_tun()
            if length < SMALL:
                break
        if node.out or node.out_fresh:
            self._flush()

    def _write_tun(self) -> None:
        for buffers in self.node.plane.large:
            self.tun.write(buffers)
        self.node.plane.large.clear()
        if self.config.layer == "l2":
            for frame in self.node.plane.to_tun:
                self.tun.write((offload.PLAIN_HEADER, frame))
        else:
            for buffers in offload.merge(self.node.plane.to_tun):
                self.tun.write(buffers)
        self.node.plane.to_tun.clear()

    def _flush(self) -> None:
        out, self.node.out = self.node.out, []
        for endpoint, group in itertools.groupby(out, key=lambda item: item[1]):
            sock = self._socket(endpoint, 0)
            if sock is not None:
                sock.send_run([datagram for datagram, _ in group], endpoint)
                if endpoint[0] == "tls":
                    self.streams.used(endpoint[1], time.monotonic())
        if self.node.out_fresh:
            self._flush_fresh()

    def _flush_fresh(self) -> None:
        for local, datagram, endpoint in self.node.out_fresh:
            if local not in self.fresh:
                try:
                    self.fresh[local] = UdpSocket(
                        socket.AF_INET6 if ":" in endpoint[0] else socket.AF_INET, "", 0, buffer=FRESH_BUFFER
                    )
                except (MachineError, OSError) as error:
                    log.warning("cannot open one more socket: %s", error)
                    continue
                self._listen(self.fresh[local], local)
            self.fresh[local].send(datagram, endpoint)
        self.node.out_fresh.clear()

    def _listen(self, sock: UdpSocket, local: int) -> None:
        self.loop.add(sock, lambda now: self._on_udp(sock, local, now))

    def _close_fresh(self) -> None:
        for local in self.node.puncher.closed:
            sock = self.fresh.pop(local, None)
            if sock is not None:
                self.loop.remove(sock)
                sock.close()
        self.node.puncher.closed.clear()

    def _on_change(self, now: float) -> None:
        addresses.drain(self._watch)
        local = self._local()
        if local != self.node.local or self._routers() != [(m.router[0], m.own) for m in self.node.mappers]:
            log.info("the network has changed: %s", ", ".join(host for _, host, _ in local) or "no address")
            self.node.network_changed(local, now, self._routers())

    def _after(self, now: float) -> None:
        node = self.node
        if now >= node.deadline:
            node.tick(now)
            self.streams.look(now)
        if node.out or node.out_fresh:
            self._flush()
        if node.puncher.closed:
            self._close_fresh()
        if node.plane.to_tun or node.plane.large:
            self._write_tun()
        if node.events:
            for event in node.events:
                log.info("%s", event)
            node.events.clear()
        if self._state_file is not None and now - self._saved_s > SAVE_EVERY_S:
            self._save(now)
        if not self._said_ready and node.ready:
            self._said_ready = True
            own = ", ".join(node.addresses)
            print(f"refmesh: ready {self.config.interface} {own} mode {self.config.mode}", file=sys.stderr, flush=True)

    def _local(self) -> list[tuple[str, str, int]]:
        return [
            (HOST, host, sock.port)
            for host in addresses.local_addresses(but=self.tun.name)
            for sock in (self.sockets.get(socket.AF_INET6 if ":" in host else socket.AF_INET),)
            if sock is not None and host not in {address.split("/")[0] for address in self.node.addresses}
        ]

    def _routers(self) -> list[tuple[str, str]]:
        if not self.config.port_mapping or self.config.mode not in ("mesh", "direct") or not self.config.servers:
            return []
        return addresses.routers()

    def _answer(self, request: dict[str, Any]) -> Any:
        now = time.monotonic()
        return ping(self.node, str(request["ping"]), now) if "ping" in request else status(self.node, now)

    def _save(self, now: float) -> None:
        """Writes down who is known and where, when that has changed."""
        self._saved_s = now
        text = json.dumps(known(self.node))
        if self._state_file is not None and text != self._saved:
            self._saved = text
            write_atomically(self._state_file, text)

    def _restore(self, now: float) -> None:
        if self._state_file is not None and self._state_file.exists():
            try:
                stored = json.loads(self._state_file.read_text())
            except ValueError as error:
                log.warning("%s: not read: %s", self._state_file, error)
                return
            restore(self.node, stored, now)


def own_certificate(config: NodeConfig, unix_s: float) -> Certificate | None:
    """Our own certificate, verified as others will verify it; None for a plain WireGuard node."""
    public = keys.public(config.private_key)
    text = config.certificate
    if config.join_key is not None:
        text = credentials.redeem(config.join_key, public)
    if text is None or config.authority is None:
        return None
    certificate = credentials.verify(text, config.authority, unix_s)
    if certificate.key != public:
        raise CredentialError(f"{config.file}: the certificate is for another private key")
    return certificate


def open_sockets(host: str, port: int) -> dict[int, UdpSocket]:
    """A socket for each address family that this machine has, on the same port where possible."""
    sockets: dict[int, UdpSocket] = {}
    if ":" not in host:
        sockets[socket.AF_INET] = UdpSocket(socket.AF_INET, host, port)
        port = sockets[socket.AF_INET].port
    if not host or ":" in host:
        try:
            sockets[socket.AF_INET6] = UdpSocket(socket.AF_INET6, host, port)
        except (MachineError, OSError):
            if host:
                raise
    return sockets
