"""What a network card with segmentation offload does: cuts the kernel's large TCP packets, and joins small ones again.

One `read` from TUN gives up to 64 KB of one TCP flow with a virtio_net_hdr (virtio specification, section 5.1.6.2) that
says how to cut it; one `writev` gives as much back. This is where most of the speed comes from: what is done once per
64 KB does not matter, what is done per packet does. Checksums are RFC 1071's; for the sum of a whole payload Python's
big integers are the quickest way: 2^16 = 1 modulo 65535, so the words' sum is the number itself modulo 65535.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import cache

HEADER = struct.Struct("<BBHHHH")
"""virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset."""
NEEDS_CSUM, DATA_VALID = 1, 2
GSO_NONE, GSO_TCPV4, GSO_TCPV6 = 0, 1, 4
PLAIN_HEADER = HEADER.pack(0, GSO_NONE, 0, 0, 0, 0)
"""Nothing is vouched for: the tag of the tunnel tells that the packet is as the peer's host gave it, and that one may
have forwarded it with a checksum that was bad already."""
TCP, UDP = 6, 17
IP_LEN, IPV6_LEN = 20, 40
MAX_MERGED = 65535
_ACK, _PSH, _FIN = 0x10, 0x08, 0x01
_LOW_5392, _LOW_2704, _LOW_1360 = (1 << 5392) - 1, (1 << 2704) - 1, (1 << 1360) - 1


def ones_sum(data: bytes | memoryview) -> int:
    """Return the ones'-complement sum of 16-bit words, an odd last byte padded with zero; 0 to 65535."""
    number = int.from_bytes(data, "big")
    if len(data) & 1:
        number <<= 8
    if len(data) > 256:
        # Folding in halves is addition, which is cheaper than division; 5392, 2704 and 1360 are multiples of 16.
        if len(data) > 1348:
            return number % 0xFFFF
        number = (number >> 5392) + (number & _LOW_5392)
        number = (number >> 2704) + (number & _LOW_2704)
        number = (number >> 1360) + (number & _LOW_1360)
    return number % 0xFFFF


def finish_sum(total: int) -> int:
    """Return the checksum field for a sum of words (RFC 1071); never 0, as UDP needs it and TCP does not mind."""
    return 0xFFFF - total % 0xFFFF


def complete(header: bytes | bytearray, packet: bytes) -> bytes:
    """Return a packet that the kernel left without its checksum, with it; one whose checksum is nowhere, as it is."""
    flags, _, _, _, start, offset = HEADER.unpack(header)
    if not flags & NEEDS_CSUM or start < IP_LEN or start + offset + 2 > len(packet):
        return packet  # before `start` are addresses, which routes and rules have been asked about
    # The field already holds the pseudo header's sum, so summing all from `start` on is right.
    checksum = finish_sum(ones_sum(packet[start:]))
    position = start + offset
    return packet[:position] + checksum.to_bytes(2, "big") + packet[position + 2 :]


@cache
def _v4_layout(rest: int) -> struct.Struct:
    # version and tos, length, id, fragment to protocol, checksum, addresses and ports; then TCP: seq, ack, offset,
    # flags, window, checksum, rest
    return struct.Struct(f"!2sHH4sH12sI4sBB2sH{rest}s")


@cache
def _v6_layout(rest: int) -> struct.Struct:
    return struct.Struct(f"!4sH34s4sI4sBB2sH{rest}s")


def split(header: bytes, packet: bytes) -> list[bytes]:
    """One read of TUN as packets that fit the MTU, with right checksums; empty when the packet makes no sense."""
    _, gso_type, _, size, start, _ = HEADER.unpack(header)
    if gso_type & 0x7F == GSO_NONE:
        return [] if 0 < start < IPV6_LEN and packet[:1] and packet[0] >> 4 == 6 else [complete(header, packet)]
    if gso_type & 0x7F not in (GSO_TCPV4, GSO_TCPV6) or not size or start + 20 > len(packet):
        return []
    tcp_length = (packet[start + 12] >> 4) * 4
    data = start + tcp_length
    if tcp_length < 20 or data > len(packet):
        return []
    if gso_type & 0x7F == GSO_TCPV4:
        return _split_v4(packet, data, size) if start == 20 else []
    return _split_v6(packet, data, size) if start == 40 else []


def _split_v4(packet: bytes, data: int, size: int) -> list[bytes]:
    layout = _v4_layout(data - 38)
    version, _, ident, ttl, _, flow, seq, ack, offset, flags, window, _, rest = layout.unpack_from(packet)
    # Everything that is the same in all segments is summed once.
    ip_sum = ones_sum(version + ttl + flow[:8])
    tcp_sum = ones_sum(flow + ack + bytes((offset, 0)) + window + rest) + TCP
    pack, total = layout.pack, len(packet)
    segments = []
    position = data
    while position < total:
        payload = packet[position : position + size]
        position += size
        now = flags if position >= total else flags & ~(_PSH | _FIN)
        length = data + len(payload)
        ip_check = finish_sum(ip_sum + length + ident)
        check = finish_sum(tcp_sum + (length - 20) + (seq >> 16) + (seq & 0xFFFF) + now + ones_sum(payload))
        segments.append(
            pack(version, length, ident, ttl, ip_check, flow, seq, ack, offset, now, window, check, rest) + payload
        )
        ident = (ident + 1) & 0xFFFF
        seq = (seq + size) & 0xFFFFFFFF
    return segments


def _split_v6(packet: bytes, data: int, size: int) -> list[bytes]:
    layout = _v6_layout(data - 58)
    version, _, addresses, ports, seq, ack, offset, flags, window, _, rest = layout.unpack_from(packet)
    tcp_sum = ones_sum(addresses[2:] + ports + ack + bytes((offset, 0)) + window + rest) + TCP
    pack, total = layout.pack, len(packet)
    segments = []
    position = data
    while position < total:
        payload = packet[position : position + size]
        position += size
        now = flags if position >= total else flags & ~(_PSH | _FIN)
        length = data - 40 + len(payload)
        check = finish_sum(tcp_sum + length + (seq >> 16) + (seq & 0xFFFF) + now + ones_sum(payload))
        segments.append(pack(version, length, addresses, ports, seq, ack, offset, now, window, check, rest) + payload)
        seq = (seq + size) & 0xFFFFFFFF
    return segments


def merge(packets: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Packets as buffers for `writev`, runs of a TCP flow joined into one large packet each."""
    count, first = len(packets), 0
    while first < count:
        last = _run_end(packets, first)
        if last - first > 1:
            yield _joined(packets, first, last)
        else:
            yield [PLAIN_HEADER, packets[first]]
        first = last


def intact(packet: bytes, tcp: int) -> bool:
    """Whether the checksums of a TCP packet are right: who merges makes them again, and would make bad ones good."""
    if tcp == 20:
        if ones_sum(packet[:20]):
            return False
        pseudo = ones_sum(packet[12:20])
    else:
        pseudo = ones_sum(packet[8:40])
    return (pseudo + TCP + len(packet) - tcp + ones_sum(packet[tcp:])) % 0xFFFF == 0


def _run_end(packets: Sequence[bytes], first: int) -> int:
    """Return the end of the run of mergeable packets that begins at `first`."""
    head = packets[first]
    length = len(head)
    end = first + 1
    if length < 41 or end >= len(packets):
        return end
    if head[0] == 0x45 and head[9] == TCP and not (head[6] << 8 | head[7]) & 0x3FFF:
        tcp = 20
    elif head[0] >> 4 == 6 and head[6] == TCP and length > 60:
        tcp = 40
    else:
        return end
    data = tcp + (head[tcp + 12] >> 4) * 4
    size = length - data
    if size <= 0 or data < tcp + 20 or head[tcp + 13] & ~_PSH != _ACK or head[tcp + 13] & _PSH:
        return end
    # Same addresses, ports, acknowledgement, window and options: the flow's fingerprint.
    flow, state, options = (
        head[tcp - (8 if tcp == 20 else 32) : tcp + 4],
        head[tcp + 8 : tcp + 13],
        head[tcp + 14 : tcp + 16],
    )
    rest = head[tcp + 18 : data]
    # Type of service with its ECN bits, don't-fragment and TTL; or traffic class, flow label and hop limit.
    marks = (slice(0, 2), slice(6, 9)) if tcp == 20 else (slice(0, 4), slice(7, 8))
    first_marks, second_marks = (head[mark] for mark in marks)
    seq = int.from_bytes(head[tcp + 4 : tcp + 8], "big")
    flow_start = tcp - (8 if tcp == 20 else 32)
    for end in range(first + 1, len(packets)):
        packet = packets[end]
        seq = (seq + size) & 0xFFFFFFFF
        if (
            len(packet) > length
            or len(packet) <= data
            or packet[flow_start : tcp + 4] != flow
            or packet[tcp + 8 : tcp + 13] != state
            or packet[tcp + 13] & ~_PSH != _ACK
            or packet[tcp + 14 : tcp + 16] != options
            or packet[tcp + 18 : data] != rest
            or int.from_bytes(packet[tcp + 4 : tcp + 8], "big") != seq
            or packet[marks[0]] != first_marks
            or packet[marks[1]] != second_marks
            or data + size * (end - first + 1) > MAX_MERGED
            or not intact(packet, tcp)
            or (end == first + 1 and not intact(head, tcp))
        ):
            return end
        if len(packet) < length or packet[tcp + 13] & _PSH:
            return end + 1
    return len(packets)


def _joined(packets: Sequence[bytes], first: int, last: int) -> list[bytes]:
    head = bytearray(packets[first])
    v4 = head[0] >> 4 == 4
    tcp = 20 if v4 else 40
    data = tcp + (head[tcp + 12] >> 4) * 4
    size = len(head) - data
    buffers = [packet[data:] for packet in packets[first:last]]
    total = data + sum(map(len, buffers))
    head[tcp + 13] = packets[last - 1][tcp + 13]
    prepare(head, tcp, total)
    header = HEADER.pack(NEEDS_CSUM, GSO_TCPV4 if v4 else GSO_TCPV6, data, size, tcp, 16)
    return [header, bytes(head[:data]), *buffers]


def prepare(head: bytearray, tcp: int, total: int) -> None:
    """Set length, IP checksum and the pseudo header's sum in the headers of a TCP packet of `total` octets."""
    if tcp == 20:
        head[2:4] = total.to_bytes(2, "big")
        head[10:12] = b"\0\0"
        head[10:12] = finish_sum(ones_sum(bytes(head[:20]))).to_bytes(2, "big")
        pseudo = ones_sum(bytes(head[12:20]))
    else:
        head[4:6] = (total - 40).to_bytes(2, "big")
        pseudo = ones_sum(bytes(head[8:40]))
    head[tcp + 16 : tcp + 18] = ((pseudo + TCP + total - tcp) % 0xFFFF).to_bytes(2, "big")
