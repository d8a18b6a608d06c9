"""What passes between the command, a member's node and the introducer, and how a node's log says where bytes came from.

A message is its length in four bytes and then its text or a torrent file.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MAX_BYTES = 64 << 20


def send(channel: socket.socket, message: bytes) -> None:
    """Send one message."""
    channel.sendall(struct.pack("!I", len(message)) + message)


def receive(channel: socket.socket) -> bytes:
    """Receive one message.

    Raises:
        ConnectionError: the other end hung up, or sent what cannot be one.
    """
    (length,) = struct.unpack("!I", _exactly(channel, 4))
    if length > MAX_BYTES:
        raise ConnectionError(f"a message of {length} bytes")
    return _exactly(channel, length)


def _exactly(channel: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = channel.recv(min(length - len(data), 1 << 20))
        if not part:
            raise ConnectionError("the other end hung up")
        data += part
    return bytes(data)


@dataclass(frozen=True)
class Source:
    """A peer that content came from: its address, bytes of payload, and whether BEP 55 opened the way to it."""

    address: str
    received: int
    holepunched: bool = False

    def line(self, content: str) -> str:
        """Return the line of the log that says so."""
        return f"bittorrent: {content} {self.received} bytes from {self.address}{' (BEP 55)' * self.holepunched}"


_LINE = re.compile(r"^bittorrent: (\w+) (\d+) bytes from ([\d.]+)( \(BEP 55\))?$", re.MULTILINE)


def sources(log: str) -> Mapping[str, list[Source]]:
    """Return the sources of every content of a log, in the order in which they were got."""
    found: dict[str, list[Source]] = {}
    for content, received, address, punched in _LINE.findall(log):
        found.setdefault(content, []).append(Source(address, int(received), bool(punched)))
    return found


def shares(peers: Iterable[Source]) -> list[Source]:
    """One source an address, which may have had several connections; those that gave nothing are left out."""
    total: dict[str, Source] = {}
    for peer in peers:
        before = total.get(peer.address, Source(peer.address, 0))
        total[peer.address] = Source(
            peer.address, before.received + peer.received, before.holepunched or peer.holepunched
        )
    return [source for source in total.values() if source.received]
