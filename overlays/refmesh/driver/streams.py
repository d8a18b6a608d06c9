"""The TLS side of both drivers: a server's listener with its connections, and a node's connections to its servers."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from overlays.refmesh.core.node import Node
from overlays.refmesh.driver.loop import Loop
from overlays.refmesh.errors import MachineError
from overlays.refmesh.wire.control import Endpoint

# Each side imports TLS when it needs it, which few do: it takes as long as all of the core.
# ruff: noqa: PLC0415
if TYPE_CHECKING:
    from overlays.refmesh.driver.stream import Stream

log = logging.getLogger("refmesh")
MAX_STREAMS = 4096
HANDSHAKE_LIMIT_S = 10.0


class _Served:
    """Keeps the loop informed about what a stream waits for."""

    def __init__(self, loop: Loop, stream: Stream, ended: Callable[[float], None]) -> None:
        self.loop, self.stream, self._ended = loop, stream, ended
        self._events = stream.events
        loop.add(stream, self.on_ready, self._events)

    def on_ready(self, now: float) -> None:
        self.stream.on_ready(now)
        self.after(now)

    def after(self, now: float) -> None:
        """To be called when the stream was used."""
        if self.stream.closed:
            self.loop.remove(self.stream)
            self.stream.close()
            self._ended(now)
        elif self.stream.events != self._events:
            self._events = self.stream.events
            self.loop.modify(self.stream, self._events)


class StreamListener:
    """The server's TLS port. Each connection is the endpoint `("tls", number)`."""

    def __init__(self, host: str, port: int, loop: Loop, receive: Callable[[bytes, Endpoint, float], None]) -> None:
        """MachineError when the port is taken."""
        from overlays.refmesh.driver.stream import Stream, server_context

        try:
            family = socket.AF_INET6 if not host or ":" in host else socket.AF_INET
            self._listener = socket.create_server(
                (host, port), family=family, backlog=64, dualstack_ipv6=not host and socket.has_dualstack_ipv6()
            )
        except OSError as error:
            raise MachineError(f"cannot use TCP port {port}: {error.strerror}") from None
        self._listener.setblocking(False)
        self._make, self._context = Stream, server_context()
        self._loop, self._receive = loop, receive
        self._streams: dict[int, tuple[_Served, float]] = {}
        self._next = 1
        loop.add(self._listener, self._accept)

    def send_run(self, datagrams: list[bytes], endpoint: Endpoint, now: float) -> None:
        """Sends datagrams to a connection; to one that is gone: nowhere."""
        entry = self._streams.get(endpoint[1])
        if entry is not None:
            entry[0].stream.send_run(datagrams)
            entry[0].after(now)

    def close(self) -> None:
        """Closes all."""
        self._listener.close()
        for served, _ in self._streams.values():
            served.stream.close()

    def _accept(self, now: float) -> None:
        for number, (served, since_s) in list(self._streams.items()):
            if not served.stream.open and now - since_s > HANDSHAKE_LIMIT_S:
                served.stream.closed = True
                served.after(now)
                self._streams.pop(number, None)
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        if len(self._streams) >= MAX_STREAMS:
            sock.close()
            return
        number, self._next = self._next, self._next + 1
        stream = self._make(
            sock,
            self._context,
            server_side=True,
            on_open=lambda _: None,
            on_datagram=lambda datagram, now: self._receive(datagram, ("tls", number), now),
        )
        self._streams[number] = (_Served(self._loop, stream, lambda _: self._gone(number)), now)

    def _gone(self, number: int) -> None:
        self._streams.pop(number, None)


class NodeStreams:
    """A node's connections to servers that do not answer over UDP."""

    def __init__(self, node: Node, loop: Loop) -> None:
        self._node, self._loop = node, loop
        self._streams: dict[int, _Served] = {}

    def look(self, now: float) -> None:
        """Opens what is wanted and closes what is not needed any more."""
        for link in self._node.servers.links:
            served = self._streams.get(link.index)
            if served is None and link.wants_tls(now):
                self._connect(link.index)
            elif served is not None and link.up and link.endpoint != link.tls:
                served.stream.closed = True
                served.after(now)

    def get(self, index: int) -> Stream | None:
        """The connection to server `index`, if there is one."""
        served = self._streams.get(index)
        return served.stream if served is not None else None

    def used(self, index: int, now: float) -> None:
        """To be called after sending."""
        served = self._streams.get(index)
        if served is not None:
            served.after(now)

    def close(self) -> None:
        """Closes all."""
        for served in self._streams.values():
            served.stream.close()

    def _connect(self, index: int) -> None:
        from overlays.refmesh.driver.stream import Stream

        link = self._node.servers.links[index]
        assert link.entry.tls is not None
        log.info("server %s is silent over UDP; trying TLS to %s", link.entry.name, link.entry.tls)
        try:
            stream = Stream.connect(
                link.entry.tls,
                lambda now: self._node.servers.stream_opened(index, now),
                lambda datagram, now: self._node.ingress.receive(datagram, ("tls", index), now),
                self._node.config.fwmark,
            )
        except MachineError as error:
            log.info("%s", error)
            return
        self._streams[index] = _Served(self._loop, stream, lambda now: self._ended(index, now))

    def _ended(self, index: int, now: float) -> None:
        self._streams.pop(index, None)
        self._node.servers.stream_closed(index, now)
