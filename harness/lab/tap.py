"""A tap beside a bridge port: when did which packet pass? Timestamps are the kernel's; packets are kept as a pcap."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from harness.model.family import Address

_ETH_P_ALL = 0x0003
_ETH_P_IP, _ETH_P_IPV6 = 0x0800, 0x86DD
_ETHERNET, _IPV6_HEADER = 14, 40
_SO_TIMESTAMPNS = 35
_SNAP_BYTES = 96
_PCAP_NANOSECONDS = 0xA1B23C4D
_LINKTYPE_ETHERNET = 1


@dataclass(frozen=True)
class Passing:
    """An IP packet seen at a port. `t` is Unix time in seconds; `ip_bytes` the packet's total length."""

    t: float
    src: Address
    dst: Address
    ip_bytes: int


def parse(frame: bytes) -> tuple[Address, Address, int] | None:
    """Source, destination and total length in bytes of the IP packet in an Ethernet frame; None for anything else."""
    kind = int.from_bytes(frame[12:14])
    if kind == _ETH_P_IP and len(frame) >= _ETHERNET + 20:
        return ip_address(frame[26:30]), ip_address(frame[30:34]), int.from_bytes(frame[16:18])
    if kind == _ETH_P_IPV6 and len(frame) >= _ETHERNET + _IPV6_HEADER:
        return ip_address(frame[22:38]), ip_address(frame[38:54]), int.from_bytes(frame[18:20]) + _IPV6_HEADER
    return None


class Tap:
    """Watches interfaces of the sandbox, both directions, until `close`; thread-safe to read meanwhile."""

    def __init__(self, interfaces: Sequence[str], pcap: Path) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, list[Passing]] = {name: [] for name in interfaces}
        self._sockets = {self._open(name): name for name in interfaces}
        self._wake_read, self._wake_write = os.pipe()
        self._pcap = pcap.open("wb")
        self._pcap.write(struct.pack("<IHHiIII", _PCAP_NANOSECONDS, 2, 4, 0, 0, _SNAP_BYTES, _LINKTYPE_ETHERNET))
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @staticmethod
    def _open(name: str) -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        made.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        made.bind((name, _ETH_P_ALL))
        return made

    def _watch(self) -> None:
        poller = select.poll()
        poller.register(self._wake_read, select.POLLIN)
        by_fd = {one.fileno(): one for one in self._sockets}
        for fd in by_fd:
            poller.register(fd, select.POLLIN)
        while True:
            for fd, _event in poller.poll():
                if fd == self._wake_read:
                    return
                self._take(by_fd[fd])

    def _take(self, one: socket.socket) -> None:
        frame, ancillary, _flags, _address = one.recvmsg(_SNAP_BYTES, 64)
        packet = parse(frame)
        if packet is None:
            return
        src, dst, length = packet
        (stamp,) = (data for level, kind, data in ancillary if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS))
        seconds, nanoseconds = struct.unpack("qq", stamp)
        passing = Passing(seconds + nanoseconds / 1e9, src, dst, length)
        with self._lock:
            self._seen[self._sockets[one]].append(passing)
            self._pcap.write(struct.pack("<IIII", seconds, nanoseconds, len(frame), length + _ETHERNET) + frame)

    def seen(self, interface: str) -> list[Passing]:
        """What has passed one interface so far, in order of arrival."""
        with self._lock:
            return list(self._seen[interface])

    def close(self) -> None:
        """Stop watching and finish the pcap; safe to call twice."""
        if self._pcap.closed:
            return
        os.write(self._wake_write, b"x")
        self._thread.join()
        for one in self._sockets:
            one.close()
        for fd in (self._wake_read, self._wake_write):
            os.close(fd)
        self._pcap.close()
