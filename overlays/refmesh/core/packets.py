"""The few fields of an IP packet that a tunnel must read (RFC 791, RFC 8200)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from functools import lru_cache


@lru_cache(maxsize=1024)
def address_text(packed: bytes) -> str:
    """Return an IPv4 or IPv6 address of 4 or 16 bytes as text."""
    return str(ipaddress.ip_address(packed))


def source_bytes(packet: bytes) -> bytes:
    """Return the source address of an IP packet, packed; empty when there is none."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        return packet[12:16]
    return packet[8:24] if version == 6 and len(packet) >= 40 else b""


def destination_bytes(packet: bytes) -> bytes:
    """Return the destination address of an IP packet, packed; empty when there is none."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        return packet[16:20]
    return packet[24:40] if version == 6 and len(packet) >= 40 else b""


def source(packet: bytes) -> str | None:
    """Return the source address as text."""
    packed = source_bytes(packet)
    return address_text(packed) if packed else None


def trim(payload: bytes) -> bytes:
    """Return an IP packet without the padding behind it; empty when a length field does not fit."""
    version = payload[0] >> 4 if payload else 0
    if version == 4 and len(payload) >= 20 and payload[0] & 0x0F >= 5:
        length = payload[2] << 8 | payload[3]
        return payload if length == len(payload) else payload[:length] if 20 <= length < len(payload) else b""
    if version == 6 and len(payload) >= 40:
        length = (payload[4] << 8 | payload[5]) + 40
        return payload if length == len(payload) else payload[:length] if length < len(payload) else b""
    return b""


def by_destination(batch: Iterable[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Yield runs of packets with one destination, given as text; packets without one are left out."""
    group: list[bytes] = []
    current = b""
    for packet in batch:
        destination = destination_bytes(packet)
        if destination != current:
            if group and current:
                yield address_text(current), group
            group, current = [], destination
        group.append(packet)
    if group and current:
        yield address_text(current), group


def host_network(address: str) -> str:
    """`10.0.0.1/24` as `10.0.0.1/32`: the address alone, as a network."""
    interface = ipaddress.ip_interface(address)
    return f"{interface.ip}/{interface.max_prefixlen}"


def packed_host(address: str) -> bytes:
    """Return the address of `10.0.0.1/24`, packed."""
    return ipaddress.ip_interface(address).ip.packed
