"""What the access rules look at in an IP packet: its protocol and ports, however many headers stand before them.

RFC 791 and 8200; ICMP is RFC 792 and 4443. Fragments are refused, the first as well: later ones carry no ports, so they
would have to be believed, and without them a first one is of no use. A tunnel with its MTU set right makes none.
"""

from __future__ import annotations

from typing import NamedTuple

TCP, UDP = 6, 17
ICMP = {4: 1, 6: 58}
"""The number of ICMP by the version of IP."""
FLOW, REQUEST, REPLY, ERROR, OTHER = "flow", "request", "reply", "error", "other"
_KINDS = {
    4: {8: REQUEST, 0: REPLY, 3: ERROR, 11: ERROR, 12: ERROR},
    6: {128: REQUEST, 129: REPLY, 1: ERROR, 2: ERROR, 3: ERROR, 4: ERROR},
}
_EXTENSIONS = frozenset((0, 43, 60, 135, 139, 140))
"""Hop-by-hop, routing, destination options, mobility, HIP, shim6: all have their length in units of 8 in octet 1."""
_FRAGMENT, _AUTHENTICATION = 44, 51
_MAX_EXTENSIONS = 8


class Seen(NamedTuple):
    """What a packet is; echo messages have their identifier as both ports."""

    kind: str
    protocol: int
    source: int
    destination: int
    about: Seen | None = None
    """The packet that an ICMP error is about, when that was sent by whom the error goes to."""


def read(packet: bytes) -> Seen | None:  # noqa: PLR0911 - one `return` a kind of packet
    """Return what the rules look at; None when it cannot be found, so that nothing is known of the packet."""
    found = transport(packet)
    if found is None:
        return None
    version, protocol, start = found
    if protocol in (TCP, UDP):
        if len(packet) < start + 4:
            return None
        ports = packet[start : start + 4]
        return Seen(FLOW, protocol, ports[0] << 8 | ports[1], ports[2] << 8 | ports[3])
    if protocol != ICMP[version]:
        return Seen(FLOW, protocol, 0, 0)
    if len(packet) < start + 8:
        return None
    kind = _KINDS[version].get(packet[start], OTHER)
    if kind == ERROR:
        about = _read_inner(packet, version, start + 8)
        return Seen(ERROR, protocol, 0, 0, about) if about is not None else None
    number = packet[start + 4] << 8 | packet[start + 5] if kind != OTHER else 0
    return Seen(kind, protocol, number, number)


def _read_inner(packet: bytes, version: int, start: int) -> Seen | None:
    """Return the packet within an ICMP error; None unless its sender gets the error, and it is no error itself."""
    inner = packet[start:]
    if not inner or inner[0] >> 4 != version:
        return None
    own, sender = (packet[16:20], inner[12:16]) if version == 4 else (packet[24:40], inner[8:24])
    if own != sender:
        return None
    found = transport(inner)
    if found is None:
        return None
    _, protocol, begin = found
    if protocol == ICMP[version] and _KINDS[version].get(inner[begin] if len(inner) > begin else -1) != REQUEST:
        return None
    return read(inner)


def transport(  # noqa: PLR0911 - one `return` a kind of header
    packet: bytes, most: int = _MAX_EXTENSIONS
) -> tuple[int, int, int] | None:
    """Return the version of IP, the protocol, and where its header begins, behind at most so many extension headers.

    None of a fragment that is not the whole packet, and of what is cut off.
    """
    version = packet[0] >> 4 if packet else 0
    if version == 4:
        start = (packet[0] & 15) * 4
        if len(packet) < 20 or start < 20 or (packet[6] << 8 | packet[7]) & 0x3FFF:
            return None
        return version, packet[9], start
    if version != 6 or len(packet) < 40:
        return None
    protocol, start = packet[6], 40
    for _ in range(most):
        if protocol not in _EXTENSIONS and protocol not in (_FRAGMENT, _AUTHENTICATION):
            return version, protocol, start
        if len(packet) < start + 8:
            return None
        if protocol == _FRAGMENT:
            if (packet[start + 2] << 8 | packet[start + 3]) & 0xFFF9:
                return None
            length = 8
        else:
            length = (packet[start + 1] + 2) * 4 if protocol == _AUTHENTICATION else (packet[start + 1] + 1) * 8
        protocol, start = packet[start], start + length
    return None
