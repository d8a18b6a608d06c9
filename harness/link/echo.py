"""Echo requests that carry the time at which they were sent, by ICMP (RFC 792) or ICMPv6 (RFC 4443)."""

from __future__ import annotations

import socket
import struct
import time
from typing import Final, NamedTuple

_ECHO: Final = struct.Struct("!BBHHHQ")
_TYPES: Final = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}
_ETHERNET_BYTES: Final = 14
_HEADER_BYTES: Final = {socket.AF_INET: 20, socket.AF_INET6: 40}


class Answer(NamedTuple):
    """An echo reply; `sent_ns` is the request's own stamp, ns of the wall clock."""

    identifier: int
    number: int
    sent_ns: int


def family_for(address: str) -> socket.AddressFamily:
    """Return the address family, IPv4 or IPv6, of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def frame_bytes(family: socket.AddressFamily) -> int:
    """Return the size of an echo request or reply on Ethernet."""
    return _ETHERNET_BYTES + _HEADER_BYTES[family] + _ECHO.size


def open_echo_socket(family: socket.AddressFamily) -> socket.socket:
    """Return a raw socket that does not block; needs CAP_NET_RAW in its network namespace."""
    protocol = socket.IPPROTO_ICMPV6 if family is socket.AF_INET6 else socket.IPPROTO_ICMP
    made = socket.socket(family, socket.SOCK_RAW, protocol)
    made.setblocking(False)
    return made


def send_echo(sock: socket.socket, address: str, identifier: int, number: int) -> None:
    """Send a request, stamped now."""
    request, stamp = _TYPES[sock.family][0], time.time_ns()
    bare = _ECHO.pack(request, 0, 0, identifier, number, stamp)
    # Of ICMPv6 the kernel makes the checksum, which covers addresses that only it knows (RFC 3542 section 3.1).
    checksum = 0 if sock.family is socket.AF_INET6 else _checksum(bare)
    sock.sendto(_ECHO.pack(request, 0, checksum, identifier, number, stamp), (address, 0))


def read_answer(sock: socket.socket, packet: bytes) -> Answer | None:
    """Return the echo reply in a packet from the socket; None for anything but one of this form."""
    # A raw IPv4 socket gives the header as well, an IPv6 one never does (RFC 3542 section 3).
    header = 0 if sock.family is socket.AF_INET6 else (packet[0] & 15) * 4
    if len(packet) < header + _ECHO.size:
        return None
    kind, _, _, identifier, number, sent_ns = _ECHO.unpack_from(packet, header)
    return Answer(identifier, number, sent_ns) if kind == _TYPES[sock.family][1] else None


def _checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
