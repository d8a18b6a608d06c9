"""The sockets of a discovery: in several namespaces, driven by one thread, so that no answer waits for a scheduler."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from harness.errors import LabError
from harness.nat.packet import Endpoint
from harness.sandbox.namespace import inside_network_of


@dataclass(frozen=True)
class Vantage:
    """A place to open sockets: the network namespace of process `pid`, and an address that it has there."""

    pid: int
    address: str

    @property
    def family(self) -> socket.AddressFamily:
        """IPv4 or IPv6, from the address."""
        return socket.AF_INET6 if ":" in self.address else socket.AF_INET

    def udp(self, port: int = 0) -> socket.socket:
        """Return a bound UDP socket that does not block."""
        return self.bound(socket.SOCK_DGRAM, port)

    def bound(self, kind: socket.SocketKind, port: int = 0) -> socket.socket:
        """Return a bound socket that does not block; several may share one TCP port.

        Raises:
            LabError: the address is not there, or the port is taken.
        """
        made = self.raw(kind)
        try:
            if kind is socket.SOCK_STREAM:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made.setblocking(False)
            made.bind((self.address, port))
        except OSError as error:
            made.close()
            raise LabError(f"cannot bind {self.address} port {port} of process {self.pid}: {error.strerror}") from error
        return made

    def raw(self, kind: socket.SocketKind, protocol: int = 0) -> socket.socket:
        """Return a socket made there, with nothing done to it."""
        with inside_network_of(self.pid):
            return socket.socket(self.family, kind, protocol)


def port_of(bound: socket.socket) -> int:
    """Return the local port of a socket."""
    return int(bound.getsockname()[1])


Reader = Callable[[bytes, Endpoint], None]


@dataclass
class Wire:
    """An event loop that hands whatever arrives to its socket's reader. A context manager that owns the sockets."""

    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    refused: set[socket.socket] = field(default_factory=set)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()

    def listen(self, bound: socket.socket, reader: Reader) -> None:
        """Give datagrams (or stream data, or b"" for its end) that arrive at `bound` to `reader`, until closed."""
        self._selector.register(bound, selectors.EVENT_READ, lambda: self._read(bound, reader))

    def relisten(self, bound: socket.socket, reader: Reader) -> None:
        """Give what arrives at `bound` to another reader."""
        self._selector.modify(bound, selectors.EVENT_READ, lambda: self._read(bound, reader))

    def accept(self, listener: socket.socket, on_connection: Callable[[socket.socket, Endpoint], None]) -> None:
        """Call `on_connection` with every connection that `listener` gets, which does not block, and its peer."""

        def take() -> None:
            try:
                connection, peer = listener.accept()
            except (ConnectionAbortedError, BlockingIOError):  # the caller has hung up already
                return
            connection.setblocking(False)
            on_connection(connection, Endpoint(*peer[:2]))

        self._selector.register(listener, selectors.EVENT_READ, take)

    def connect(self, unconnected: socket.socket, to: Endpoint, done: Callable[[OSError | None], None]) -> None:
        """Begin a TCP connection and call `done` when it is there or has failed."""

        def finish() -> None:
            self._selector.unregister(unconnected)
            number = unconnected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            done(OSError(number, os.strerror(number)) if number else None)

        try:
            unconnected.connect((to.address, to.port))
        except BlockingIOError:
            pass
        except OSError as error:  # the other side was quicker: the pair of ports is connected already
            done(error)
            return
        self._selector.register(unconnected, selectors.EVENT_WRITE, finish)

    def forget(self, bound: socket.socket) -> None:
        """Stop reading a socket and close it."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(bound)
        bound.close()

    def pump(self, until: Callable[[], bool], timeout_s: float) -> bool:
        """Serve all sockets until `until()` holds; return False if it does not within the time."""
        deadline = time.monotonic() + timeout_s
        while not until():
            left = deadline - time.monotonic()
            for key, _ in self._selector.select(max(left, 0.0)):
                key.data()
            if left <= 0:
                return until()
        return True

    def wait(self, duration_s: float) -> None:
        """Serve all sockets for so long."""
        self.pump(lambda: False, duration_s)

    def _read(self, bound: socket.socket, reader: Reader) -> None:
        for data, source in self._arrived(bound):
            reader(data, source)

    def _arrived(self, bound: socket.socket) -> Iterator[tuple[bytes, Endpoint]]:
        stream = bound.type is socket.SOCK_STREAM
        while True:
            try:
                data, source = bound.recvfrom(4096)
            except BlockingIOError:
                return
            except OSError as error:
                if not stream and error.errno == errno.ECONNREFUSED:  # an ICMP error about an earlier datagram
                    self.refused.add(bound)
                    continue
                data, source = b"", None  # a reset stream ends like a closed one; a socket closed by a reader is gone
                if bound.fileno() < 0:
                    return
            yield data, Endpoint(*source[:2]) if source else Endpoint("", 0)
            if stream and not data:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(bound)
                bound.close()
                return
