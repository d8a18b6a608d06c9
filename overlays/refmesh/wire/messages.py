"""Message types on a refmesh socket, and the layouts of WireGuard's four messages.

Types 1 to 4 are WireGuard's (Donenfeld, "WireGuard: Next Generation Kernel Network Tunnel", NDSS 2017, section 5.4);
a type is one byte followed by three zero bytes. Types 5 and up are refmesh's own; a plain WireGuard drops them.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence

INITIATION = 1
RESPONSE = 2
COOKIE_REPLY = 3
TRANSPORT = 4
INTRODUCTION = 5
RELAY = 6
BULK = 7

INITIATION_LEN = 148
RESPONSE_LEN = 92
COOKIE_REPLY_LEN = 64
TRANSPORT_HEADER_LEN = 16
TAG_LEN = 16
TRANSPORT_MIN_LEN = TRANSPORT_HEADER_LEN + TAG_LEN
MAC_LEN = 16

HEADER = struct.Struct("<I")
"""type (u8) and three reserved zero bytes, read as one number: with a reserved byte set it is no known type."""
INITIATION_HEAD = struct.Struct("<II")
"""type, sender index; then ephemeral 32, static 32+16, timestamp 12+16, mac1 16, mac2 16."""
RESPONSE_HEAD = struct.Struct("<III")
"""type, sender index, receiver index; then ephemeral 32, nothing 0+16, mac1 16, mac2 16."""
COOKIE_HEAD = struct.Struct("<II24s")
"""type, receiver index, nonce; then the cookie 16+16."""
INDEXED_HEAD = struct.Struct("<II")
"""type, receiver index: the beginning of a transport message."""
TRANSPORT_HEAD = struct.Struct("<IIQ")
"""type, receiver index, counter; then the padded packet and its tag."""
RELAY_HEAD = struct.Struct("<II")
"""type, relay number of the other end (destination towards the server, source from it); then any message."""


def message_type(datagram: bytes | memoryview) -> int:
    """Return the type of a message; 0 when it is too short to have one."""
    return int(HEADER.unpack_from(datagram)[0]) if len(datagram) >= HEADER.size else 0


def runs(datagrams: Sequence[bytes | memoryview]) -> list[list[bytes | memoryview]]:
    """Datagrams in their order, those with the same type and receiver index (or relay number) that follow one another
    together: who forges a source address has his datagrams joined with those of the one who lives there."""
    return [list(run) for _, run in itertools.groupby(datagrams, lambda datagram: bytes(datagram[: INDEXED_HEAD.size]))]
