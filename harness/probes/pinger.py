"""The sender of the path probe's pings: one thread for all pairs, answers stamped by the kernel's clock.

The sockets are made in the members' namespaces; no process runs there. Requests carry random bytes, which no overlay
can compress. An answer counts when it carries the request's own bytes and comes from the address that was asked.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_address

from harness.link.stamps import STAMP_SPACE, ask_for_stamps, stamp_ns
from harness.model.family import Address
from harness.probes.pings import HEADERS_BYTES, LARGEST_BYTES, Ping, sizes
from harness.sandbox.namespace import inside_network_of

_ECHO = struct.Struct("!BBHHH")
_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}
_RECEIVE_BYTES = 2048
_IDLE_S = 3600.0


class Pinger:
    """One pair's pings, from the node of `pid` to `address`; `left` of them are still to be sent.

    What is due while the node `sleeps` counts as one that nobody answers, and is not sent.
    """

    def __init__(
        self,
        pid: int,
        address: Address,
        rng: random.Random,
        number: int,
        largest: int = LARGEST_BYTES,
        *,
        sleeps: Callable[[], bool] = lambda: False,
    ) -> None:
        self._address, self._version = address, address.version
        self._identifier = number % 65536
        self._sleeps = sleeps
        self._rng, self._sizes = rng, sizes(rng, largest=largest)
        with inside_network_of(pid):
            self._socket = self._open()
        self._lock = threading.Lock()
        self._pings: list[Ping] = []
        self._payloads: list[bytes] = []
        self.left = 0.0
        self.due_s = 0.0
        self.wake: Callable[[], None] = lambda: None  # set by whoever runs it
        self._interval_s = 0.05
        self.errors: dict[str, int] = {}
        self.twice: list[int] = []
        """The number of each ping that was answered once more."""

    def _open(self) -> socket.socket:
        family, protocol = (
            (socket.AF_INET, socket.IPPROTO_ICMP) if self._version == 4 else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
        )
        made = socket.socket(family, socket.SOCK_RAW, protocol)
        made.setblocking(False)
        ask_for_stamps(made)
        return made

    def ask(self, count: float, interval_s: float, *, together: bool = False) -> None:
        """Send pings: see `Asker`; a ping has no connection."""
        del together
        with self._lock:
            self.left, self._interval_s, self.due_s = count, interval_s, 0.0
        self.wake()

    def fileno(self) -> int:
        """Return the socket's descriptor, for poll."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket; the pings stay."""
        self._socket.close()

    @property
    def pings(self) -> list[Ping]:
        """All pings so far, in the order of sending."""
        with self._lock:
            return list(self._pings)

    def send(self, now: float) -> None:
        """Send one ping; an error from the kernel is counted, and the ping stays unanswered."""
        seq, size = len(self._pings), next(self._sizes)
        payload = self._rng.randbytes(size - HEADERS_BYTES[self._version])
        bare = _ECHO.pack(_REQUEST[self._version], 0, 0, self._identifier, seq % 65536) + payload
        # Of ICMPv6 the kernel makes the checksum, which covers addresses that only it knows (RFC 3542 section 3.1).
        checksum = 0 if self._version == 6 else _checksum(bare)
        packet = _ECHO.pack(_REQUEST[self._version], 0, checksum, self._identifier, seq % 65536) + payload
        with self._lock:  # both at once: none left to be sent, and all there are answered, means that all is over
            self.left -= 1
            self.due_s = now + self._interval_s
            self._payloads.append(payload)
            self._pings.append(Ping(seq, size, time.time()))
        if self._sleeps():
            return
        try:
            # Not connected: that would keep the route and source address of the moment, before the overlay has its own.
            self._socket.sendto(packet, (str(self._address), 0))
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        name = error.strerror or str(error)
        self.errors[name] = self.errors.get(name, 0) + 1

    def receive(self) -> None:
        """Take all answers that have come."""
        while True:
            try:
                packet, ancillary, _flags, source = self._socket.recvmsg(_RECEIVE_BYTES, STAMP_SPACE)
            except BlockingIOError:
                return
            except OSError as error:
                self._complain(error)
                continue
            if ip_address(source[0]) == self._address:
                self._take(packet, stamp_ns(ancillary))

    def _take(self, packet: bytes, stamp: int | None) -> None:
        header = (packet[0] & 15) * 4 if self._version == 4 else 0
        if len(packet) < header + _ECHO.size or stamp is None:
            return
        kind, _code, _checksum, identifier, low = _ECHO.unpack_from(packet, header)
        if kind != _REPLY[self._version] or identifier != self._identifier:
            return
        payload = packet[header + _ECHO.size :]
        with self._lock:
            for seq in range(low, len(self._pings), 65536):
                if self._payloads[seq] != payload:
                    continue
                if self._pings[seq].answered_s is None:
                    self._pings[seq] = replace(self._pings[seq], answered_s=stamp / 1e9)
                else:
                    self.twice.append(seq)


class Pingers:
    """The thread that runs all pingers until `close`."""

    def __init__(self, pingers: Sequence[Pinger]) -> None:
        self._pingers = pingers
        self._closing = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        for pinger in pingers:
            pinger.wake = self._wake
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _wake(self) -> None:
        os.write(self._wake_write, b"x")

    def close(self) -> None:
        """End the thread and close the sockets; safe to call twice."""
        if self._closing:
            return
        self._closing = True
        self._wake()
        self._thread.join()
        for pinger in self._pingers:
            pinger.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._wake_read, select.POLLIN)
        by_fd = {pinger.fileno(): pinger for pinger in self._pingers}
        for fd in by_fd:
            poller.register(fd, select.POLLIN)
        while not self._closing:
            now = time.monotonic()
            for pinger in self._pingers:
                if pinger.left > 0 and pinger.due_s <= now:
                    pinger.send(now)
            due = min((pinger.due_s for pinger in self._pingers if pinger.left > 0), default=now + _IDLE_S)
            for fd, _event in poller.poll(max(0.0, due - time.monotonic()) * 1000):
                if fd == self._wake_read:
                    with contextlib.suppress(BlockingIOError):
                        os.read(fd, 4096)
                else:
                    by_fd[fd].receive()


def _checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    even = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(even) // 2}H", even))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
