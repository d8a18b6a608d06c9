"""STUN messages as far as NAT behaviour discovery needs them (RFC 8489 sections 5 and 14, RFC 5780 section 7). Pure."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from harness.nat.packet import Endpoint

MAGIC = 0x2112A442
_REQUEST, _RESPONSE = 0x0001, 0x0101
_HEADER = struct.Struct("!HHI12s")

_MAPPED_ADDRESS = 0x0001
_CHANGE_REQUEST = 0x0003
_XOR_MAPPED_ADDRESS = 0x0020
_RESPONSE_PORT = 0x0027
_RESPONSE_ORIGIN = 0x802B
_OTHER_ADDRESS = 0x802C

_CHANGE_IP, _CHANGE_PORT = 0x04, 0x02


@dataclass(frozen=True)
class Request:
    """A Binding request; `response_port` 0 asks for the answer to where the request came from."""

    transaction: bytes
    change_ip: bool = False
    change_port: bool = False
    response_port: int = 0

    def encode(self) -> bytes:
        """Return the message as bytes."""
        attributes = b""
        if self.change_ip or self.change_port:
            flags = _CHANGE_IP * self.change_ip | _CHANGE_PORT * self.change_port
            attributes += _attribute(_CHANGE_REQUEST, struct.pack("!I", flags))
        if self.response_port:
            attributes += _attribute(_RESPONSE_PORT, struct.pack("!HH", self.response_port, 0))
        return _HEADER.pack(_REQUEST, len(attributes), MAGIC, self.transaction) + attributes


@dataclass(frozen=True)
class Response:
    """A Binding success response; `mapped` is where the request came from, as the server saw it."""

    transaction: bytes
    mapped: Endpoint
    origin: Endpoint
    other: Endpoint

    def encode(self) -> bytes:
        """Return the message as bytes."""
        attributes = (
            _attribute(_XOR_MAPPED_ADDRESS, _address(self.mapped, self.transaction))
            + _attribute(_MAPPED_ADDRESS, _address(self.mapped))
            + _attribute(_RESPONSE_ORIGIN, _address(self.origin))
            + _attribute(_OTHER_ADDRESS, _address(self.other))
        )
        return _HEADER.pack(_RESPONSE, len(attributes), MAGIC, self.transaction) + attributes


def decode(data: bytes) -> Request | Response:
    """Return the message in a datagram, or the first one in a stream.

    Raises:
        ValueError: not a Binding request or success response, or cut short.
    """
    if len(data) < _HEADER.size:
        raise ValueError("shorter than a STUN header")
    kind, length, magic, transaction = _HEADER.unpack_from(data)
    if magic != MAGIC or len(data) < _HEADER.size + length:
        raise ValueError("no STUN message, or cut short")
    attributes = dict(_attributes(data[_HEADER.size : _HEADER.size + length]))
    if kind == _REQUEST:
        flags = int.from_bytes(attributes.get(_CHANGE_REQUEST, b"\0"), "big")
        port = int.from_bytes(attributes.get(_RESPONSE_PORT, b"\0\0")[:2], "big")
        return Request(transaction, bool(flags & _CHANGE_IP), bool(flags & _CHANGE_PORT), port)
    if kind == _RESPONSE and _XOR_MAPPED_ADDRESS in attributes:
        nowhere = b"\0\1" + bytes(6)
        return Response(
            transaction,
            _endpoint(attributes[_XOR_MAPPED_ADDRESS], transaction),
            _endpoint(attributes.get(_RESPONSE_ORIGIN, nowhere)),
            _endpoint(attributes.get(_OTHER_ADDRESS, nowhere)),
        )
    raise ValueError(f"STUN message of type {kind:#06x} is no Binding request or success response")


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def _attributes(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while len(data) >= 4:
        kind, length = struct.unpack_from("!HH", data)
        if len(data) < 4 + length:
            raise ValueError(f"STUN attribute {kind:#06x} is cut short")
        found.append((kind, data[4 : 4 + length]))
        data = data[4 + length + -length % 4 :]
    return found


def _address(endpoint: Endpoint, transaction: bytes = b"") -> bytes:
    """Return the value of an address attribute; with a transaction in XOR form (RFC 8489 section 14.2)."""
    address = ipaddress.ip_address(endpoint.address)
    raw = address.packed
    port = endpoint.port
    if transaction:
        raw = _xor(raw, transaction)
        port ^= MAGIC >> 16
    return struct.pack("!BBH", 0, 1 if address.version == 4 else 2, port) + raw


def _endpoint(value: bytes, transaction: bytes = b"") -> Endpoint:
    if len(value) not in (8, 20):
        raise ValueError("STUN address of a strange length")
    _, _, port = struct.unpack_from("!BBH", value)
    raw = value[4:]
    if transaction:
        raw = _xor(raw, transaction)
        port ^= MAGIC >> 16
    return Endpoint(str(ipaddress.ip_address(raw)), port)


def _xor(raw: bytes, transaction: bytes) -> bytes:
    mask = struct.pack("!I", MAGIC) + transaction
    return bytes(a ^ b for a, b in zip(raw, mask, strict=False))
