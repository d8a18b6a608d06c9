"""A tap on bridge ports: which packet passed when, by the kernel's stamps; frames are kept as a pcapng file."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path

from harness.lab.capture import CaptureWriter
from harness.link.stamps import STAMP_SPACE, ask_for_stamps, stamp_ns
from harness.model.family import Address

_ETH_P_ALL = 0x0003
_ETH_P_IP, _ETH_P_IPV6 = 0x0800, 0x86DD
_ETHERNET, _IPV6_HEADER = 14, 40
_SNAP_BYTES = 96
# Asked for; a kernel that is not asked by root gives less, and says so by losing frames, which is noticed.
_BUFFER_BYTES = 8 << 20
_AT_ONCE = 64
# linux/if_packet.h: level and option of a packet socket's counts.
_SOL_PACKET, _PACKET_STATISTICS = 263, 6


@dataclass(frozen=True, slots=True)
class Passing:
    """An IP packet seen at a port. `t` is Unix time in seconds; `ip_bytes` the packet's total length."""

    t: float
    src: Address
    dst: Address
    ip_bytes: int


def parse(frame: bytes) -> tuple[Address, Address, int] | None:
    """Parse an Ethernet frame into source, destination and total length in bytes of its IP packet; None without one."""
    kind = int.from_bytes(frame[12:14])
    if kind == _ETH_P_IP and len(frame) >= _ETHERNET + 20:
        return _address(frame[26:30]), _address(frame[30:34]), int.from_bytes(frame[16:18])
    if kind == _ETH_P_IPV6 and len(frame) >= _ETHERNET + _IPV6_HEADER:
        return _address(frame[22:38]), _address(frame[38:54]), int.from_bytes(frame[18:20]) + _IPV6_HEADER
    return None


@lru_cache(maxsize=4096)
def _address(packed: bytes) -> Address:
    return ip_address(packed)


class Tap:
    """A watch on interfaces of the sandbox, both directions, until `close`; other threads may read it meanwhile.

    What passes those in `beside` of an interface counts as passing it: a node may have several cables.
    """

    def __init__(
        self, interfaces: Sequence[str], capture: Path, beside: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self._lock = threading.Lock()
        self._interfaces = list(interfaces)
        self._seen: list[list[Passing]] = [[] for _ in interfaces]
        also = beside or {}
        watched = [(name, place) for place, one in enumerate(interfaces) for name in (one, *also.get(one, ()))]
        self._places = [place for _, place in watched]
        self._sockets = [self._open(name) for name, _ in watched]
        self._wake_read, self._wake_write = os.pipe()
        self._capture = CaptureWriter(capture, [name for name, _ in watched], _SNAP_BYTES)
        self.lost = 0
        """Frames that came while the buffer was full; known once closed."""
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @staticmethod
    def _open(name: str) -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        ask_for_stamps(made)
        made.bind((name, _ETH_P_ALL))
        return made

    def _watch(self) -> None:
        poller = select.poll()
        poller.register(self._wake_read, select.POLLIN)
        by_fd = {one.fileno(): number for number, one in enumerate(self._sockets)}
        for fd in by_fd:
            poller.register(fd, select.POLLIN)
        while True:
            for fd, _event in poller.poll():
                if fd == self._wake_read:
                    return
                for _ in range(_AT_ONCE):
                    if not self._take(by_fd[fd]):
                        break

    def _take(self, number: int) -> bool:
        try:
            frame, ancillary, _flags, _address = self._sockets[number].recvmsg(_SNAP_BYTES, STAMP_SPACE)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.ENETDOWN:
                raise
            return False  # told once, when a port is taken down: by an event that plugs its node in elsewhere
        packet, stamp = parse(frame), stamp_ns(ancillary)
        if packet is None or stamp is None:
            return True
        src, dst, length = packet
        with self._lock:
            self._seen[self._places[number]].append(Passing(stamp / 1e9, src, dst, length))
            self._capture.frame(number, stamp, frame, length + _ETHERNET)
        return True

    def seen(self, interface: str, start: int = 0) -> list[Passing]:
        """Return what has passed one interface so far, in order of arrival, from number `start` on."""
        with self._lock:
            return self._seen[self._interfaces.index(interface)][start:]

    def close(self) -> None:
        """Stop watching and finish the capture; safe to call twice."""
        if self._capture.closed:
            return
        os.write(self._wake_write, b"x")
        self._thread.join()
        for one in self._sockets:
            _packets, lost = struct.unpack("II", one.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
            self.lost += lost
            one.close()
        for fd in (self._wake_read, self._wake_write):
            os.close(fd)
        self._capture.close()
