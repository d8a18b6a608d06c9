"""The link helper in pure Python, for machines on which the C one could not be built: right, but slow.

It runs the specification (`harness.link.spec`) on packet sockets and speaks the control protocol of the C helper. Run
by `harness.link.helper`, never by a user.
"""

from __future__ import annotations

import contextlib
import ctypes
import heapq
import itertools
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import fields
from math import ceil, log2
from pathlib import Path
from typing import Any, Final

from harness.link.accounting import BUCKETS, SUB_BUCKETS
from harness.link.helper import read_table
from harness.link.offload import WHOLE_FRAMES, set_offloads
from harness.link.settings import LossKind, QueueKind, Settings
from harness.link.spec import ETHERNET_HEADER_BYTES, LinkDirection
from harness.link.stamps import STAMP_SPACE, ask_for_stamps, stamp_ns
from harness.link.tags import TAG_SPACE, ask_for_tags, with_tag

_PR_SET_PDEATHSIG: Final = 1
_ETH_P_ALL: Final = 3
_SOL_PACKET: Final = 263
_PACKET_ADD_MEMBERSHIP: Final = 1
_PACKET_STATISTICS: Final = 6
_PACKET_IGNORE_OUTGOING: Final = 23
_PACKET_MR_PROMISC: Final = 1
_SO_RCVBUFFORCE: Final = 33
_RECEIVE_BUFFER: Final = 8 << 20
_BATCH: Final = 64


class Carrier:
    """One direction at work: receives at one socket, sends at the other."""

    def __init__(self, receiver: socket.socket, sender: socket.socket) -> None:
        self.receiver = receiver
        self.sender = sender
        self.way = LinkDirection(Settings(), (0, 0, 0, 0, 0))
        self.lateness = [0] * BUCKETS
        self.ingress_drops = self.send_errors = self.sent_bytes = 0
        self.latest_arrival = 0

    def receive(self) -> None:
        """Take what waits at the socket, at most a batch."""
        for _ in range(_BATCH):
            try:
                data, ancillary, _, _ = self.receiver.recvmsg(2048, STAMP_SPACE + TAG_SPACE)
            except (BlockingIOError, InterruptedError):
                return
            now = time.monotonic_ns()
            stamp = stamp_ns(ancillary)
            # Stamps are of the wall clock; its distance is measured each time because the clock may be stepped.
            arrival = now if stamp is None else min(now, stamp - (time.time_ns() - now))
            self.latest_arrival = max(self.latest_arrival, arrival)
            data = with_tag(data, ancillary)
            self.way.arrive(self.latest_arrival, len(data), data)

    def send(self, now: int) -> None:
        """Send what is due."""
        for frame in self.way.due(now):
            data = frame.payload
            if frame.flipped_bit is not None:
                place = ETHERNET_HEADER_BYTES + frame.flipped_bit // 8
                data = data[:place] + bytes([data[place] ^ (1 << frame.flipped_bit % 8)]) + data[place + 1 :]
            late_us = max((time.monotonic_ns() - frame.deliver) / 1000, 1.0)
            self.lateness[min(max(ceil(SUB_BUCKETS * log2(late_us)) - 1, 0), BUCKETS - 1)] += 1
            try:
                self.sent_bytes += self.sender.send(data)
            except OSError:
                self.send_errors += 1

    def describe(self) -> str:
        """Return the direction's part of an answer to `account`."""
        stats = self.receiver.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self.ingress_drops += struct.unpack("II", stats)[1]
        counts = {f.name: getattr(self.way.counts, f.name) for f in fields(self.way.counts)}
        counts |= {"ingress_drops": self.ingress_drops, "send_errors": self.send_errors, "sent_bytes": self.sent_bytes}
        counts["sent"] -= self.send_errors
        buckets = (f"{index}={count}" for index, count in enumerate(self.lateness) if count)
        return " ".join([*(f"{key}={value}" for key, value in counts.items()), *buckets])


class Helper:
    """All links of a lab, and the control socket."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._links: list[dict[str, Carrier]] = []
        self._tables: dict[int, tuple[int, ...]] = {}
        self._started = time.monotonic_ns()
        self._epoll = select.epoll()
        self._epoll.register(control.fileno(), select.EPOLLIN)
        self._receivers: dict[int, Carrier] = {}

    def run(self) -> None:
        """Serve until the control socket closes."""
        ticket = itertools.count()
        agenda: list[tuple[int, int, Carrier]] = []
        while True:
            now = time.monotonic_ns()
            while agenda and agenda[0][0] <= now:
                _, _, carrier = heapq.heappop(agenda)
                carrier.send(now)
                following = carrier.way.next_time()
                if following is not None:
                    heapq.heappush(agenda, (following, next(ticket), carrier))
                now = time.monotonic_ns()
            timeout = max(agenda[0][0] - now, 0) / 1e9 if agenda else None
            # epoll_wait counts in milliseconds; select, which watches the epoll here, in microseconds.
            select.select([self._epoll], [], [], timeout)
            for fd, _ in self._epoll.poll(0):
                if fd == self._control.fileno():
                    message = self._control.recv(65536)
                    if not message:
                        return
                    self._control.send(self._answer(message.decode()).encode())
                    continue
                carrier = self._receivers[fd]
                before = carrier.way.next_time()
                carrier.receive()
                following = carrier.way.next_time()
                # An entry that comes too early does no harm; one too many neither.
                if following is not None and (before is None or following < before):
                    heapq.heappush(agenda, (following, next(ticket), carrier))

    def _answer(self, command: str) -> str:
        word, _, rest = command.partition(" ")
        try:
            return f"ok {getattr(self, f'_do_{word}')(rest) or ''}".rstrip()
        except Exception as error:
            return f"error {type(error).__name__}: {error}"

    def _do_table(self, rest: str) -> None:
        number, _, path = rest.partition(" ")
        self._tables[int(number)] = read_table(Path(path))

    def _do_link(self, rest: str) -> None:
        ports = [_open_port(name) for name in rest.split()]
        self._links.append({"up": Carrier(ports[0], ports[1]), "down": Carrier(ports[1], ports[0])})

    def _do_seeds(self, rest: str) -> None:
        index, way, *seeds = rest.split()
        self._links[int(index)][way].way = LinkDirection(Settings(), tuple(map(int, seeds)))

    def _do_set(self, rest: str) -> None:
        index, way, *words = rest.split()
        values: dict[str, Any] = {key: int(value) for key, value in (word.split("=") for word in words)}
        values = {key: self._tables[value] if key.endswith("_table") else value for key, value in values.items()}
        values["loss_kind"] = LossKind(values["loss_kind"])
        values["queue_kind"] = QueueKind(values["queue_kind"])
        self._links[int(index)][way].way.change(Settings(**values), time.monotonic_ns())

    def _do_go(self, rest: str) -> None:
        del rest
        for link in self._links:
            for carrier in link.values():
                self._receivers[carrier.receiver.fileno()] = carrier
                # What came before we were asked to carry anything has not waited for us.
                carrier.way.epoch = carrier.latest_arrival = time.monotonic_ns()
                self._epoll.register(carrier.receiver.fileno(), select.EPOLLIN)
        self._started = time.monotonic_ns()

    def _do_account(self, rest: str) -> str:
        link = self._links[int(rest)]
        return f"| {link['up'].describe()} | {link['down'].describe()}"

    def _do_usage(self, rest: str) -> str:
        del rest
        resident_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        wall_ns = time.monotonic_ns() - self._started
        return f"cpu_ns={time.process_time_ns()} wall_ns={wall_ns} realtime=0 resident_kb={resident_kb} pool_bytes=0"

    def _do_kickers(self, rest: str) -> str:
        del rest
        return "0 of 0: this helper has none"


def _open_port(name: str) -> socket.socket:
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    port.setblocking(False)
    set_offloads(name, WHOLE_FRAMES, on=False)
    try:
        port.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    except OSError:
        port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    port.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    ask_for_stamps(port)
    ask_for_tags(port)
    port.bind((name, _ETH_P_ALL))
    request = struct.pack("iHH8s", socket.if_nametoindex(name), _PACKET_MR_PROMISC, 0, b"")
    port.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, request)
    return port


def main(words: list[str]) -> None:
    """Run `serve FD PARENT SPIN_US`, as the C helper does."""
    _, fd, parent, _ = words
    if int(parent):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # It may have died before we asked; 0 is a parent outside of our PID namespace.
        if os.getppid() not in (int(parent), 0):
            return
    with contextlib.closing(socket.socket(fileno=int(fd))) as control:
        Helper(control).run()


if __name__ == "__main__":
    main(sys.argv[1:])
