"""Captures of whole nodes, asked for by a scenario: every packet on every interface, also of those that come later."""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import struct
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from harness.lab.capture import LINKTYPE_ETHERNET, LINKTYPE_RAW, CaptureWriter
from harness.lab.node import LabNode
from harness.lab.tap import parse
from harness.link.stamps import STAMP_SPACE, ask_for_stamps, stamp_ns
from harness.model.captures import Captures
from harness.sandbox.namespace import inside_network_of

FOLDER: Final = "captures"
_ETH_P_ALL: Final = 0x0003
_BUFFER_BYTES: Final = 8 << 20
_AT_ONCE: Final = 64
# linux/if_packet.h and linux/if_arp.h
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_OUTGOING = 263, 6, 4
_ARPHRD_ETHER, _ARPHRD_LOOPBACK = 1, 772
_ETHERNET: Final = 14


class _Watched:
    """One node's socket and file; `full` once the file has reached its bound."""

    def __init__(self, node: LabNode, path: Path, asked: Captures) -> None:
        self._asked, self._bytes, self._interfaces = asked, 0, dict[str, int]()
        self.frames, self.lost, self.full = 0, 0, False
        self._writer = CaptureWriter(path, (), asked.frame_bytes)
        with inside_network_of(node.pid):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        ask_for_stamps(self.socket)

    def take(self) -> bool:
        """Keep one frame; False: there is none, or no more are kept."""
        try:
            frame, ancillary, flags, where = self.socket.recvmsg(self._asked.frame_bytes, STAMP_SPACE)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.ENETDOWN:
                raise
            return False
        name, _protocol, kind, hardware = where[:4]
        stamp = stamp_ns(ancillary)
        if stamp is None or (hardware == _ARPHRD_LOOPBACK and kind == _PACKET_OUTGOING):  # it comes in as well
            return True
        length = len(frame)
        if flags & socket.MSG_TRUNC and (packet := parse(frame)) is not None and hardware == _ARPHRD_ETHER:
            length = packet[2] + _ETHERNET
        self._writer.frame(self._interface(str(name), int(hardware)), stamp, frame, length)
        self.frames += 1
        self._bytes += len(frame)
        self.full = self._bytes >= self._asked.max_mb * 1e6
        return not self.full

    def stop(self) -> None:
        """Take no more, from now on: the kernel neither copies packets for it nor counts them as lost."""
        if self.socket.fileno() >= 0:
            _packets, self.lost = struct.unpack("II", self.socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
            self.socket.close()

    def _interface(self, name: str, hardware: int) -> int:
        if name not in self._interfaces:
            has_header = hardware in (_ARPHRD_ETHER, _ARPHRD_LOOPBACK)
            self._interfaces[name] = self._writer.add(name, LINKTYPE_ETHERNET if has_header else LINKTYPE_RAW)
        return self._interfaces[name]

    def close(self) -> None:
        """Finish the file."""
        self.stop()
        self._writer.close()

    @property
    def account(self) -> dict[str, object]:
        """What the file has, and what it has not."""
        return {"frames": self.frames, "bytes": self._bytes, "ended_at_its_bound": self.full, "lost_frames": self.lost}


class NodeCaptures:
    """Captures of some nodes until `close`: `captures/NODE.pcapng` in `folder`, and an account of all of them."""

    def __init__(self, nodes: Mapping[str, LabNode], asked: Captures, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._folder.mkdir(exist_ok=True)
        self._watched = {
            name: _Watched(nodes[name], self._folder / f"{name}.pcapng", asked) for name in dict.fromkeys(asked.nodes)
        }
        self._wake_read, self._wake_write = os.pipe()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        poller = select.poll()
        poller.register(self._wake_read, select.POLLIN)
        by_fd = {one.socket.fileno(): one for one in self._watched.values()}
        for fd in by_fd:
            poller.register(fd, select.POLLIN)
        try:
            while True:
                for fd, _event in poller.poll():
                    if fd == self._wake_read:
                        return
                    one = by_fd[fd]
                    for _ in range(_AT_ONCE):
                        if not one.take():
                            break
                    if one.full:
                        poller.unregister(fd)
                        one.stop()
        except OSError as error:  # a full disk: told by `close`, in the trial's own thread
            self._failure = error

    def close(self) -> None:
        """Stop, finish the files and write the account.

        Raises:
            OSError: a file could not be written.
        """
        os.write(self._wake_write, b"x")
        self._thread.join()
        for one in self._watched.values():
            one.close()
        for fd in (self._wake_read, self._wake_write):
            os.close(fd)
        account = {name: one.account for name, one in self._watched.items()}
        (self._folder / "captures.json").write_text(json.dumps(account, indent=1))
        if self._failure is not None:
            raise self._failure
