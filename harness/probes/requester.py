"""Sends the path probe's requests through streams: each over a fresh connection, its answer the same bytes.

As with pings over interfaces, sizes cannot be guessed and bytes are random, so that no overlay can compress them.
Requests are larger than a handshake: what a port moved meanwhile tells by which way one went. The sockets are made in
the members' namespaces; no process runs there.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from harness.probes.measurement import Stream, Target
from harness.probes.pings import HEADERS_BYTES, Ping, sizes
from harness.sandbox.namespace import inside_network_of

# Larger than what a product sends along with a request (a handshake has three to six kB), and than one flight of TCP
# (RFC 6928).
SMALLEST_BYTES, LARGEST_BYTES = 6_000, 12_000
# A product that tries something else first (a hole, say) may take this long with one connection.
PATIENCE_S = 5.0
_LOOK_EVERY_S = 0.05  # whether a host that sleeps has woken
_PORT = 7410
_PIECE = 65536


class Requester:
    """One pair's requests, one after the other; see `harness.probes.asking.Asker`."""

    def __init__(self, target: Target, rng: random.Random, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._pid = target.lab.nodes[target.src].pid
        self._stream = target.stream(_PORT)
        self._sleeps = target.sender_sleeps
        self._rng, self._sizes = rng, sizes(rng, SMALLEST_BYTES, LARGEST_BYTES)
        self._asked = threading.Condition()
        self._pings: list[Ping] = []
        self._closing = False
        self._interval_s, self._together = 0.05, False
        self._askings = 0
        self._connection: socket.socket | None = None
        self.left = 0.0
        self.errors: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def ask(self, count: float, interval_s: float, *, together: bool = False) -> None:
        """Send requests: see `Asker`."""
        with self._asked:
            self.left, self._interval_s, self._together = count, interval_s, together
            self._askings += 1
            self._asked.notify_all()

    @property
    def pings(self) -> list[Ping]:
        """All requests so far, in the order of sending; `ip_bytes` is the least that carries one."""
        with self._asked:
            return list(self._pings)

    def close(self) -> None:
        """End the thread, and whatever it waits for."""
        with self._asked:
            self._closing = True
            self._asked.notify_all()
            connection = self._connection
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _run(self) -> None:
        while asking := self._next():
            self._request(asking)
            with self._asked:
                asked_anew = asking != self._askings  # then this one was none of those
                self.left = self.left if asked_anew else max(0.0, self.left - 1)
                if not self._together or not self.left or asked_anew:
                    self._drop()
                self._asked.wait_for(partial(self._is_over, self._askings), self._interval_s)
        self._drop()

    def _is_over(self, asking: int) -> bool:
        return self._closing or asking != self._askings

    def _next(self) -> int:
        """Wait until there is something to send, and say for which asking; 0: it is over."""
        with self._asked:
            self._asked.wait_for(lambda: self._closing or self.left > 0)
            return 0 if self._closing else self._askings

    def _request(self, asking: int) -> None:
        """Send one and wait for its answer; what goes wrong is counted, the request stays unanswered."""
        payload = self._rng.randbytes(next(self._sizes))
        with self._asked:
            number = len(self._pings)
            self._pings.append(Ping(number, len(payload) + HEADERS_BYTES[6], time.time()))
            if self._sleeps():
                # As long as a request is waited for that goes to somebody who sleeps: as many are due, either way.
                over_s = time.monotonic() + self._patience_s
                while self._sleeps() and time.monotonic() < over_s:
                    if self._asked.wait_for(partial(self._is_over, asking), _LOOK_EVERY_S):
                        break
                return
        try:
            connection = self._opened()
            connection.sendall(payload)
            if _exactly(connection, len(payload)) != payload:
                raise ConnectionError("the answer is not what was sent")
        except OSError as error:
            name = error.strerror or str(error)
            self.errors[name] = self.errors.get(name, 0) + 1
            with self._asked:
                self._drop()
            return
        with self._asked:
            self._pings[number] = replace(self._pings[number], answered_s=time.time())

    def _opened(self) -> socket.socket:
        if self._connection is None:
            family = socket.AF_INET6 if self._stream.connect_address.version == 6 else socket.AF_INET
            with inside_network_of(self._pid):
                made = socket.socket(family, socket.SOCK_STREAM)
            with self._asked:
                self._connection = made
            made.settimeout(self._patience_s)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.connect((str(self._stream.connect_address), self._stream.connect_port))
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _exactly(connection: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        piece = connection.recv(count - len(found))
        if not piece:
            raise ConnectionError("the stream ended before the answer")
        found += piece
    return bytes(found)


@contextlib.contextmanager
def echoes(targets: Sequence[Target]) -> Iterator[None]:
    """Serve at the far end of every target's stream, until the block ends: send back what comes."""
    ends = {(target.dst, *_service(target.stream(_PORT))): target for target in targets}
    listeners = []
    try:
        for (_, address, port), target in ends.items():
            with inside_network_of(target.lab.nodes[target.dst].pid):
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                listeners.append(socket.create_server((address, port), family=family, backlog=64))
        for listener in listeners:
            threading.Thread(target=_serve, args=(listener,), daemon=True).start()
        yield
    finally:
        for listener in listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes whoever accepts
            listener.close()


def _service(stream: Stream) -> tuple[str, int]:
    return str(stream.listen_address), stream.listen_port


def _serve(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while piece := connection.recv(_PIECE):
            connection.sendall(piece)
