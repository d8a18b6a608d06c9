"""The UDP sockets of a node: one for each address family, and those that punching opens and closes."""

from __future__ import annotations

import functools
import itertools
import logging
import math
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from overlays.refmesh.core.node import Node
from overlays.refmesh.driver import clock
from overlays.refmesh.driver.loop import Loop
from overlays.refmesh.driver.near import NearSocket
from overlays.refmesh.driver.streams import NodeStreams
from overlays.refmesh.driver.udp import UdpSocket
from overlays.refmesh.errors import MachineError
from overlays.refmesh.wire.control import Endpoint

if TYPE_CHECKING:
    from overlays.refmesh.driver.stream import Stream

log = logging.getLogger("refmesh")
FRESH_BUFFER = 1 << 18
MAX_NEAR, UNUSED_S = 64, 60.0
"""So many near sockets at most; those unused for so long make room."""
KEPT_S = 1.0
"""How old the set of peers' endpoints may be that is kept: a flood of strangers has it looked at for each datagram."""


class NodeSockets:
    """Sends what the node's outbox has, from the socket or over the stream that it is for."""

    def __init__(
        self,
        node: Node,
        loop: Loop,
        streams: NodeStreams,
        port: int,
        *,
        on_readable: Callable[[UdpSocket, int, float], bool],
        on_near: Callable[[NearSocket, float], bool],
    ) -> None:
        """`on_readable(socket, number, now)`, `on_near(socket, now)`: True when all is done with that.

        MachineError when the port is taken.
        """
        self._mark = node.config.fwmark
        self.main = open_sockets("", port, self._mark)
        self._fresh: dict[int, UdpSocket] = {}
        self._near: dict[Endpoint, NearSocket] = {}
        self._node, self._loop, self._streams = node, loop, streams
        self._on_readable, self._on_near = on_readable, on_near
        self._kept: set[Endpoint] = set()
        self._kept_s = -math.inf
        for sock in self.main.values():
            sock.keeps = self._keeps

    def listen(self) -> None:
        """From now on calls the handler."""
        for sock in self.main.values():
            self._listen(sock, 0)

    def find(self, endpoint: Endpoint, local: int) -> UdpSocket | Stream | None:
        """Return what a datagram to this endpoint leaves from."""
        if local:
            return self._fresh.get(local)
        if endpoint[0] == "tls":
            return self._streams.get(endpoint[1])
        return self.main.get(socket.AF_INET6 if ":" in endpoint[0] else socket.AF_INET)

    def near(self, endpoint: Endpoint) -> NearSocket | None:
        """Return the socket connected to an endpoint, a new one if need be; None when there cannot be one."""
        near = self._near.get(endpoint)
        main = self.find(endpoint, 0)
        if near is None and isinstance(main, UdpSocket) and len(self._near) < MAX_NEAR:
            family = main.socket.family
            sharing = [main, *(other for other in self._near.values() if other.socket.family == family)]
            try:
                near = self._near[endpoint] = NearSocket(endpoint, main.port, sharing, main.asked(endpoint))
            except (MachineError, OSError) as error:
                log.warning("cannot open a socket for %s:%d: %s", *endpoint, error)
                return None
            self._loop.add(near, functools.partial(self._on_near, near))
        return near

    def near_is_full(self) -> bool:
        """Whether `near` opens no more."""
        return len(self._near) >= MAX_NEAR

    def close_near(self, unused_since_s: float = math.inf) -> None:
        """Close near sockets that have been unused since then; without: all."""
        for endpoint, near in list(self._near.items()):
            if near.used_s < unused_since_s:
                del self._near[endpoint]
                self._loop.remove(near)
                near.close()

    def flush(self) -> None:
        """Send everything and close what punching needs no longer."""
        outbox = self._node.outbox
        if outbox.main:
            out = outbox.main[:]
            outbox.main.clear()
            for endpoint, group in itertools.groupby(out, key=lambda item: item[1]):
                sock = self.find(endpoint, 0)
                if sock is not None:
                    sock.send_run([datagram for datagram, _ in group], endpoint)
                    if endpoint[0] == "tls":
                        self._streams.used(endpoint[1], clock.now())
        if outbox.fresh:
            self._flush_fresh()
        probes = outbox.probes[:]
        outbox.probes.clear()
        for local, datagram, endpoint in probes:
            sock = self.find(endpoint, local)
            if isinstance(sock, UdpSocket):
                sock.send_whole(datagram, endpoint)
        if self._node.puncher.closed:
            self._close_fresh()

    def close(self) -> None:
        """Close all."""
        for sock in (*self.main.values(), *self._fresh.values(), *self._near.values()):
            sock.close()

    def _flush_fresh(self) -> None:
        fresh = self._node.outbox.fresh[:]
        self._node.outbox.fresh.clear()
        for local, datagram, endpoint in fresh:
            if local not in self._fresh:
                if not self._node.puncher.is_open(local):
                    continue  # closed since, and nobody would close it again
                try:
                    family = socket.AF_INET6 if ":" in endpoint[0] else socket.AF_INET
                    self._fresh[local] = UdpSocket(family, "", 0, buffer=FRESH_BUFFER, mark=self._mark)
                except (MachineError, OSError) as error:
                    log.warning("cannot open one more socket: %s", error)
                    continue
                self._listen(self._fresh[local], local)
            self._fresh[local].send(datagram, endpoint)

    def _keeps(self, endpoint: Endpoint) -> bool:
        """Whether a peer or a server is at an endpoint; asked where strangers send from so many that some must go."""
        now = clock.now()
        if now - self._kept_s > KEPT_S:
            peers = (*self._node.peers.by_key.values(), *(link.peer for link in self._node.servers.links))
            self._kept = {peer.path.endpoint for peer in peers if peer.path is not None}
            self._kept_s = now
        return endpoint in self._kept

    def _too_large(self, endpoint: Endpoint, allowed: int) -> None:
        self._node.refused(endpoint, allowed, clock.now())

    def _listen(self, sock: UdpSocket, local: int) -> None:
        sock.on_too_large = self._too_large
        self._loop.add(sock, lambda now: self._on_readable(sock, local, now))

    def _close_fresh(self) -> None:
        for local in self._node.puncher.closed:
            sock = self._fresh.pop(local, None)
            if sock is not None:
                self._loop.remove(sock)
                sock.close()
        self._node.puncher.closed.clear()


def open_sockets(host: str, port: int, mark: int = 0) -> dict[int, UdpSocket]:
    """Return a socket for each address family that this machine has, on the same port where possible."""
    sockets: dict[int, UdpSocket] = {}
    if ":" not in host:
        sockets[socket.AF_INET] = UdpSocket(socket.AF_INET, host, port, mark=mark)
        port = sockets[socket.AF_INET].port
    if not host or ":" in host:
        try:
            sockets[socket.AF_INET6] = UdpSocket(socket.AF_INET6, host, port, mark=mark)
        except (MachineError, OSError):
            if host:
                raise
    return sockets
