"""Paced UDP with stamps of one clock on both ends: what a link did to each packet.

All namespaces of a machine share one clock, so one-way delays can be measured. A packet carries its number and the
time just before it was sent; the kernel stamps it when it arrives, so that a slow reader does no harm.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

from harness.link.stamps import STAMP_SPACE, ask_for_stamps, stamp_ns

HEADERS_BYTES: Final = 14 + 20 + 8
_PAYLOAD: Final = struct.Struct("!IQ")
_SO_RCVBUFFORCE: Final = 33
_SO_SNDBUFFORCE: Final = 32
_BUFFER_BYTES: Final = 64 << 20
# Sending takes 5 to 20 us, the receiver's part of the kernel included.
_DOUBT_NS: Final = 200_000


@dataclass(frozen=True)
class Stream:
    """Constant bit rate: `count` packets of `size_bytes` (IP packet, headers included), one every `gap_us`."""

    count: int
    gap_us: float
    size_bytes: int = 1000

    @property
    def frame_bytes(self) -> int:
        """Length of its Ethernet frames."""
        return self.size_bytes + 14

    @property
    def duration_s(self) -> float:
        """How long sending takes."""
        return self.count * self.gap_us / 1e6


@dataclass(frozen=True)
class Seen:
    """The fate of a stream: send times by number, and (number, arrival time) in order of arrival; ns, one clock.

    `doubtful` packets took so long to send that the sender was interrupted between stamp and packet, or after it.
    """

    sent_ns: tuple[int, ...]
    arrived: tuple[tuple[int, int], ...]
    doubtful: frozenset[int] = frozenset()

    @property
    def delays_ms(self) -> list[float]:
        """Return the one-way delay of every packet that arrived (copies too), in ms, in order of arrival."""
        return [(at - self.sent_ns[number]) / 1e6 for number, at in self.arrived]

    @property
    def lost(self) -> int:
        """Packets of which no copy arrived."""
        return len(self.sent_ns) - len({number for number, _ in self.arrived})

    @property
    def duplicated(self) -> int:
        """Packets that arrived more than once."""
        return sum(count > 1 for count in Counter(number for number, _ in self.arrived).values())


def receiver(sock: socket.socket) -> None:
    """Prepare a socket to receive a stream: kernel stamps and a deep buffer."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    ask_for_stamps(sock)
    sock.setblocking(False)


def run_stream(stream: Stream, sender: socket.socket, sink: socket.socket, *, patience_s: float) -> Seen:
    """Send the stream to where `sink` listens and collect it; wait `patience_s` after the last arrival."""
    receiver(sink)
    sender.connect(sink.getsockname())
    filling = bytes(stream.size_bytes - 28 - _PAYLOAD.size)
    sent: list[int] = []
    doubtful: list[int] = []
    arrived: list[tuple[int, int]] = []
    gap_ns = round(stream.gap_us * 1000)
    begin = time.monotonic_ns()
    for number in range(stream.count):
        due = begin + number * gap_ns
        wait = due - time.monotonic_ns()
        if wait > 200_000:
            collect(sink, arrived)
            time.sleep(max((due - time.monotonic_ns() - 100_000) / 1e9, 0))
        elif number % 256 == 0:
            collect(sink, arrived)
        while time.monotonic_ns() < due:
            pass
        stamp = time.time_ns()
        sender.send(_PAYLOAD.pack(number, stamp) + filling)
        sent.append(stamp)
        if time.time_ns() - stamp > _DOUBT_NS:
            doubtful.append(number)
    last = time.monotonic()
    while time.monotonic() - last < patience_s:
        sink.settimeout(max(patience_s - (time.monotonic() - last), 0.001))
        try:
            arrived.append(_receive(sink))
        except TimeoutError:
            break
        sink.setblocking(False)
        collect(sink, arrived)
        last = time.monotonic()
    return Seen(tuple(sent), tuple(arrived), frozenset(doubtful))


def collect(sink: socket.socket, into: list[tuple[int, int]]) -> None:
    """Take everything that waits at the socket."""
    while True:
        try:
            into.append(_receive(sink))
        except BlockingIOError:
            return


def _receive(sink: socket.socket) -> tuple[int, int]:
    data, ancillary, _, _ = sink.recvmsg(2048, STAMP_SPACE)
    at = stamp_ns(ancillary)
    assert at is not None, "asked for in `receiver`"
    number, _ = _PAYLOAD.unpack_from(data)
    return number, at
