"""What a router does with a packet that the next link does not carry: it says so, or cuts it (RFC 791, 1191, 8201)."""

from __future__ import annotations

import ipaddress
import struct

from overlays.refmesh.core import offload

ICMP, ICMPV6 = 1, 58
MIN_IPV6 = 1280
"""Every IPv6 link carries that much; where ours does not, the outer packet is cut (RFC 8200, section 5)."""
_DF, _MF, _OFFSET = 0x4000, 0x2000, 0x1FFF
_QUOTED_V4 = 548
_QUOTED_V6 = 1280 - 48
_NO_ERRORS_ABOUT = (3, 4, 5, 11, 12)
"""ICMP errors: of one there is no other (RFC 1122, section 3.2.2)."""


def may_be_cut(packet: bytes) -> bool:
    """Whether a router may cut the packet."""
    return packet[0] >> 4 == 4 and not (packet[6] << 8 | packet[7]) & _DF


def carried_anyhow(packet: bytes) -> bool:
    """Whether a packet goes out whatever its path is said to carry."""
    return packet[0] >> 4 == 6 and len(packet) <= MIN_IPV6


def fragments(packet: bytes, mtu: int) -> list[bytes]:
    """Cut an IPv4 packet into pieces of at most `mtu` octets (RFC 791, section 3.2). The first one has the options."""
    header = (packet[0] & 0x0F) * 4
    word = packet[6] << 8 | packet[7]
    room = (mtu - header) & ~7
    pieces = []
    for start in range(header, len(packet), room):
        piece = packet[start : start + room]
        last = start + room >= len(packet)
        mark = (word & _MF if last else _MF) | ((word & _OFFSET) + (start - header) // 8)
        head = bytearray(packet[:header] if start == header else packet[:20])
        head[0] = 0x40 | len(head) // 4
        head[2:4] = (len(head) + len(piece)).to_bytes(2, "big")
        head[6:8] = mark.to_bytes(2, "big")
        head[10:12] = b"\0\0"
        head[10:12] = offload.finish_sum(offload.ones_sum(bytes(head))).to_bytes(2, "big")
        pieces.append(bytes(head) + piece)
    return pieces


def too_big(packet: bytes, mtu: int) -> bytes | None:
    """Return the answer to a packet that is larger than `mtu` octets: from where it goes to; None where none is due."""
    return _v4(packet, mtu) if packet[0] >> 4 == 4 else _v6(packet, max(mtu, MIN_IPV6))


def _v4(packet: bytes, mtu: int) -> bytes | None:
    header = (packet[0] & 0x0F) * 4
    offset = (packet[6] << 8 | packet[7]) & _OFFSET
    source, destination = packet[12:16], packet[16:20]
    error = packet[9] == ICMP and not offset and packet[header] in _NO_ERRORS_ABOUT
    if offset or error or destination[0] >= 224 or destination == b"\xff" * 4 or source == bytes(4):
        return None
    body = struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + packet[:_QUOTED_V4]
    body = body[:2] + offload.finish_sum(offload.ones_sum(body)).to_bytes(2, "big") + body[4:]
    head = struct.pack("!BBHHHBBH", 0x45, 0xC0, 20 + len(body), 0, 0, 64, ICMP, 0) + destination + source
    return head[:10] + offload.finish_sum(offload.ones_sum(head)).to_bytes(2, "big") + head[12:] + body


def _v6(packet: bytes, mtu: int) -> bytes | None:
    source, destination = packet[8:24], packet[24:40]
    error = packet[6] == ICMPV6 and packet[40] < 128
    if error or ipaddress.IPv6Address(source).is_unspecified:
        return None
    body = struct.pack("!BBHI", 2, 0, 0, mtu) + packet[:_QUOTED_V6]
    pseudo = destination + source + len(body).to_bytes(4, "big") + bytes((0, 0, 0, ICMPV6))
    check = offload.finish_sum(offload.ones_sum(pseudo) + offload.ones_sum(body))
    body = body[:2] + check.to_bytes(2, "big") + body[4:]
    return struct.pack("!IHBB", 6 << 28, len(body), ICMPV6, 64) + destination + source + body
