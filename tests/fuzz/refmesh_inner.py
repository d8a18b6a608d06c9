"""What a host, or a hostile peer, may put into a tunnel: packets with their virtio_net_hdr, good ones and any others.

Good packets can be told when they come out again: the data of TCP is a function of its sequence number, another one
where the checksum is wrong on purpose, and hostile packets have source ports that good ones never have.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from overlays.refmesh.core import offload, too_big
from overlays.refmesh.core.offload import GSO_NONE, GSO_TCPV4, GSO_TCPV6, HEADER, NEEDS_CSUM, PLAIN_HEADER, TCP, UDP

HOSTILE_PORT = 0xF000
GOOD_PORTS, BAD_SUM_PORTS = range(1000, 2000), range(2000, 3000)
SERVICE = 80
_PATTERN = bytes((i * 7 + 13) & 0xFF for i in range(256)) * 257
_BAD_PATTERN = bytes(octet ^ 0x55 for octet in _PATTERN)


@dataclass(frozen=True)
class Inner:
    """A read of the device; `udp`: a packet that must come out once, `octets`: data of TCP that must."""

    data: bytes
    udp: bytes = b""
    octets: int = 0


def pattern(port: int, seq: int, length: int) -> bytes:
    """Return the data that a flow has from a sequence number on."""
    source = _BAD_PATTERN if port in BAD_SUM_PORTS else _PATTERN
    return source[seq & 0xFF :][:length]


def head(source: bytes, destination: bytes, protocol: int, length: int, rng: random.Random) -> bytes:
    """Return an IP header for `length` octets of payload."""
    if len(source) == 16:
        marks = (6 << 28 | rng.choice((0, 2, 3)) << 20).to_bytes(4, "big")
        return marks + length.to_bytes(2, "big") + bytes((protocol, 64)) + source + destination
    made = bytearray((0x45, rng.choice((0, 2, 3))))
    made += (20 + length).to_bytes(2, "big") + rng.randbytes(2) + rng.choice((b"\0\0", b"\x40\0"))
    made += bytes((64, protocol, 0, 0)) + source + destination
    made[10:12] = offload.finish_sum(offload.ones_sum(bytes(made))).to_bytes(2, "big")
    return bytes(made)


def with_sum(ip: bytes, body: bytes, protocol: int, at: int) -> bytes:
    """Return the packet with the checksum of its payload, which stands `at` octets into that."""
    addresses = ip[12:20] if len(ip) == 20 else ip[8:40]
    total = offload.ones_sum(addresses) + protocol + len(body) + offload.ones_sum(body)
    return ip + body[:at] + offload.finish_sum(total).to_bytes(2, "big") + body[at + 2 :]


def good_udp(source: bytes, destination: bytes, rng: random.Random) -> Inner:
    """Return a UDP packet that every path carries."""
    data = rng.randbytes(rng.randrange(0, 400))
    body = b"".join(part.to_bytes(2, "big") for part in (rng.choice(GOOD_PORTS), SERVICE, 8 + len(data), 0)) + data
    packet = with_sum(head(source, destination, UDP, len(body), rng), body, UDP, 6)
    return Inner(PLAIN_HEADER + packet, udp=packet)


def good_tcp(source: bytes, destination: bytes, rng: random.Random, *, bad_sum: bool = False) -> Inner:
    """Return a TCP packet as the kernel gives it, a large one perhaps; `bad_sum`: with a checksum that is wrong."""
    port, seq = rng.choice(BAD_SUM_PORTS if bad_sum else GOOD_PORTS), rng.randrange(1 << 32)
    options = rng.choice((b"", b"\1\1\x08\x0a" + rng.randbytes(8)))
    size = rng.choice((100, 500, 1000, 1348, 1360))
    length = rng.randrange(1, 430) if bad_sum or not rng.randrange(3) else rng.randrange(size, 65000)
    flags = 0x10 | rng.choice((0, 8, 9))
    tcp = port.to_bytes(2, "big") + SERVICE.to_bytes(2, "big") + seq.to_bytes(4, "big") + rng.randbytes(4)
    tcp += bytes(((20 + len(options)) << 2, flags)) + rng.randbytes(2) + bytes(4) + options
    body = tcp + pattern(port, seq, length)
    ip, start = head(source, destination, TCP, len(body), rng), 20 if len(source) == 4 else 40
    if bad_sum:
        packet = with_sum(ip, body, TCP, 16)
        wrong = int.from_bytes(packet[start + 16 : start + 18], "big") ^ rng.randrange(1, 0xFFFF)
        return Inner(PLAIN_HEADER + packet[: start + 16] + wrong.to_bytes(2, "big") + packet[start + 18 :])
    large = length > size
    kind = (GSO_TCPV4 if start == 20 else GSO_TCPV6) if large else GSO_NONE
    pseudo = (offload.ones_sum(ip[12:20] if start == 20 else ip[8:40]) + TCP + len(body)) % 0xFFFF
    body = body[:16] + pseudo.to_bytes(2, "big") + body[18:]
    header = HEADER.pack(NEEDS_CSUM, kind, start + len(tcp), size if large else 0, start, 16)
    return Inner(header + ip + body, octets=length)


def hostile(source: bytes, destination: bytes, rng: random.Random) -> bytes:
    """Return a packet that need not make any sense: wrong lengths, fragments, options, ICMP, noise."""
    kind = rng.randrange(10)
    if kind == 0:
        return rng.randbytes(rng.choice((0, 1, 2, 19, 20, 21, 39, 40, 41, 60, rng.randrange(65536))))
    length = rng.choice((0, 1, 7, 8, 20, 100, 600, 1380, 1401, 4000, rng.randrange(65515)))
    protocol = rng.choice((1, 6, 6, 17, 58, 44, 0, 43, 51, 60, 59, 255, rng.randrange(256)))
    body = bytearray(rng.randbytes(length))
    body[:4] = (HOSTILE_PORT + rng.randrange(16)).to_bytes(2, "big") + rng.choice((SERVICE, 22)).to_bytes(2, "big")
    if protocol in (1, 58) and len(body) > 40:
        body[:2] = bytes((rng.choice((0, 3, 5, 8, 11, 12, 1, 2, 128, 129, 135, 136)), rng.randrange(16)))
        body[8:36] = head(destination[:4], source[:4], rng.choice((1, 6, 17)), 8, rng) + bytes(8)
    elif protocol == 6 and len(body) > 13:
        body[12], body[13] = rng.randrange(16) << 4, rng.randrange(256)
    packet = bytearray(head(source, destination, protocol, min(len(body), 65515), rng) + body)
    if protocol == 6 and len(body) >= 20 and rng.randrange(2):
        start = len(packet) - len(body)
        packet = bytearray(with_sum(bytes(packet[:start]), bytes(packet[start:]), 6, 16))
    if kind < 6:
        return bytes(packet)
    spot = rng.choice((0, 0, 2, 3, 6, 7, 9, rng.randrange(len(packet))))
    packet[spot] = rng.choice((0, 1, 0x40, 0x41, 0x44, 0x46, 0x4F, 0x60, 0x65, 0xFF, rng.randrange(256)))
    if kind == 7:
        del packet[rng.randrange(len(packet) + 1) :]
    elif kind == 8 and len(packet) > 8 and packet[0] >> 4 == 4:
        packet[6:8] = rng.choice((0x2000, 0x1FFF, 0x0001, 0x6000, 0x8000)).to_bytes(2, "big")
    elif kind == 9 and (answer := too_big.too_big(bytes(head(source, destination, 17, 8, rng) + bytes(8)), 1000)):
        return answer
    return bytes(packet)


def series(source: bytes, destination: bytes, rng: random.Random) -> list[bytes]:
    """Return segments of TCP in sequence, with right checksums and any data offset: to be merged, or not."""
    offset, data, seq = rng.choice((0, 1, 4, 5, 6, 8, 15)), rng.randrange(1, 1300), rng.randrange(1 << 32)
    made, rest = [], rng.randbytes(offset * 4 - 20 if offset > 5 else 0)
    for _ in range(rng.randrange(2, 9)):
        tcp = (HOSTILE_PORT << 16 | SERVICE).to_bytes(4, "big") + (seq & 0xFFFFFFFF).to_bytes(4, "big") + bytes(4)
        body = tcp + bytes((offset << 4, 0x10)) + bytes(6) + rest + bytes(data)
        made.append(with_sum(head(source, destination, TCP, len(body), random.Random(1)), body, TCP, 16))
        seq += data + (20 - offset * 4 if offset < 5 else 0)
    return made


def hostile_read(source: bytes, destination: bytes, rng: random.Random) -> Inner:
    """Return a read of the device with any header, a wrong one mostly."""
    packet = hostile(source, destination, rng)
    header = PLAIN_HEADER
    if rng.randrange(3):
        numbers = (rng.choice((0, 1, 2, 20, 40, 54, 65535, rng.randrange(1 << 16))) for _ in range(4))
        header = HEADER.pack(rng.choice((0, 1, 2, 3, 255)), rng.choice((0, 1, 4, 3, 5, 0x81, 0x84, 255)), *numbers)
    elif len(packet) > 60:
        start = 20 if packet[0] >> 4 == 4 else 40
        size = rng.choice((0, 1, 7, 500, 1360, 65535))
        header = HEADER.pack(1, rng.choice((0, 1, 4, 0x81)), 40, size, start, rng.choice((6, 16, 16)))
    return Inner((header + packet)[: rng.choice((65559, 65559, 65559, rng.randrange(65560)))])
