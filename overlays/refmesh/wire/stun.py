"""STUN Binding (RFC 8489): just enough to learn one's server-reflexive address, and to answer others who ask."""

from __future__ import annotations

import ipaddress
import struct

from overlays.refmesh.errors import MalformedMessage
from overlays.refmesh.wire.control import Endpoint

REQUEST, SUCCESS = 0x0001, 0x0101
MAGIC = 0x2112A442
TRANSACTION_LEN = 12
MAPPED_ADDRESS, XOR_MAPPED_ADDRESS = 0x0001, 0x0020
_HEAD = struct.Struct(">HHI12s")
_ATTRIBUTE = struct.Struct(">HH")


def is_stun(datagram: bytes | memoryview) -> bool:
    """Whether this is a STUN message and none of ours: the magic cookie, and two leading zero bits (section 5)."""
    if len(datagram) < _HEAD.size:
        return False
    kind, length, magic, _ = _HEAD.unpack_from(datagram)
    return bool(magic == MAGIC) and kind < 0x4000 and length % 4 == 0 and length + _HEAD.size == len(datagram)


def request(transaction: bytes) -> bytes:
    """Return a Binding request."""
    return _HEAD.pack(REQUEST, 0, MAGIC, transaction)


def read_request(datagram: bytes) -> bytes | None:
    """Return the transaction of a Binding request that we can answer; None for all else."""
    kind, _, _, transaction = _HEAD.unpack_from(datagram)
    # Comprehension-required attributes (below 0x8000) that we do not know mean that we must not answer plainly.
    if kind != REQUEST or any(attribute < 0x8000 for attribute, _ in _attributes(datagram)):
        return None
    return bytes(transaction)


def response(transaction: bytes, source: Endpoint) -> bytes:
    """Return the success response to a request that came from `source`."""
    address = ipaddress.ip_address(source[0])
    mask = struct.pack(">I", MAGIC) + transaction
    xored = bytes(a ^ b for a, b in zip(address.packed, mask, strict=False))
    family = 1 if address.version == 4 else 2
    value = struct.pack(">BBH", 0, family, source[1] ^ (MAGIC >> 16)) + xored
    attribute = _ATTRIBUTE.pack(XOR_MAPPED_ADDRESS, len(value)) + value
    return _HEAD.pack(SUCCESS, len(attribute), MAGIC, transaction) + attribute


def read_response(datagram: bytes) -> tuple[bytes, Endpoint]:
    """Transaction and mapped address of a success response; MalformedMessage when it has none."""
    kind, _, _, transaction = _HEAD.unpack_from(datagram)
    if kind != SUCCESS:
        raise MalformedMessage("not a STUN success response")
    plain: Endpoint | None = None
    for attribute, value in _attributes(datagram):
        if attribute == XOR_MAPPED_ADDRESS:
            return transaction, _address(value, struct.pack(">I", MAGIC) + transaction)
        if attribute == MAPPED_ADDRESS:
            plain = _address(value, bytes(16))
    if plain is None:
        raise MalformedMessage("a STUN response without an address")
    return transaction, plain


def _attributes(datagram: bytes) -> list[tuple[int, bytes]]:
    found = []
    position = _HEAD.size
    while position + _ATTRIBUTE.size <= len(datagram):
        kind, length = _ATTRIBUTE.unpack_from(datagram, position)
        position += _ATTRIBUTE.size
        found.append((kind, bytes(datagram[position : position + length])))
        position += (length + 3) & ~3
    return found


def _address(value: bytes, mask: bytes) -> Endpoint:
    length = {1: 4, 2: 16}.get(value[1] if len(value) > 1 else 0, 0)
    if not length or len(value) < 4 + length:
        raise MalformedMessage("a STUN address that is cut off")
    port = int.from_bytes(value[2:4], "big") ^ int.from_bytes(mask[:2], "big")
    return str(ipaddress.ip_address(bytes(a ^ b for a, b in zip(value[4 : 4 + length], mask, strict=False)))), port
