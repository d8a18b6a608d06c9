"""Control frames: what two refmesh nodes, or node and server, say inside a session.

A decrypted payload whose first four bits are 0 is no IP packet but a control frame; a plain WireGuard peer never gets
one. Layout: type (u8), flags (u8, of PING and PONG), length of the body (u16, big-endian), body. Padding may follow.

| type | name | body |
|---|---|---|
| 1 | PING | transaction, 8 random bytes |
| 2 | PONG | the same transaction, then the address that the ping came from: 16 bytes, port u16; zeros over a relay |
| 3 | HELLO | JSON, node to server: see `core/coordination.py` |
| 4 | UPDATE | JSON, server to node |
| 5 | PUNCH | JSON, node to node: addresses to try, by prediction |
| 8 | ETHERNET | an Ethernet frame (layer 2 networks) |
"""

from __future__ import annotations

import functools
import ipaddress
import json
import struct
from typing import Any

from overlays.refmesh.errors import MalformedMessage

PING, PONG, HELLO, UPDATE, PUNCH, ETHERNET = 1, 2, 3, 4, 5, 8
READS_BULK = 0x01
"""Flag of PING and PONG: the sender reads the bulk framing."""
TRANSACTION_LEN = 8
MAX_BODY = 1200
"""Octets of a JSON body that fit into one datagram on every path."""
_HEAD = struct.Struct(">BBH")
_ADDRESS = struct.Struct(">16sH")
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")

Endpoint = tuple[str, int]
"""Underlay address: literal IP address and port. `("tls", n)` stands for stream number n to or from a server."""


def frame(kind: int, body: bytes, flags: int = 0) -> bytes:
    """Return a control frame."""
    return _HEAD.pack(kind, flags, len(body)) + body


def json_frame(kind: int, body: Any) -> bytes:
    """Return a control frame with a JSON body."""
    return frame(kind, json.dumps(body, separators=(",", ":")).encode())


def read(payload: bytes) -> tuple[int, bytes]:
    """Type and body of a control frame without its padding; MalformedMessage when it is cut off.

    So is a PING or PONG without its whole transaction: the answer to it would be too large for what was asked.
    """
    if len(payload) < _HEAD.size:
        raise MalformedMessage("a control frame without a head")
    kind, _, length = _HEAD.unpack_from(payload)
    if len(payload) < _HEAD.size + length:
        raise MalformedMessage("a control frame that is cut off")
    if kind in (PING, PONG) and length < TRANSACTION_LEN:
        raise MalformedMessage("a check without a transaction")
    return kind, payload[_HEAD.size : _HEAD.size + length]


def check_parts(payload: bytes) -> tuple[int, int, bytes]:
    """Type, flags and transaction of a PING or PONG that `read` has taken for one."""
    return payload[0], payload[1], payload[_HEAD.size : _HEAD.size + TRANSACTION_LEN]


def pack_endpoint(endpoint: Endpoint | None) -> bytes:
    """Return an address and port as 18 bytes, IPv4 in its IPv6-mapped form; zeros for None and for a stream."""
    if endpoint is None or endpoint[0] == "tls":
        return bytes(_ADDRESS.size)
    return _ADDRESS.pack(_packed(endpoint[0]), endpoint[1])


@functools.lru_cache(1024)
def _packed(host: str) -> bytes:
    # Of the address alone: a volley has hundreds of ports of one.
    address = ipaddress.ip_address(host)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def unpack_endpoint(data: bytes) -> Endpoint | None:
    """Return the reverse of `pack_endpoint`; None for zeros. MalformedMessage when it is too short."""
    if len(data) < _ADDRESS.size:
        raise MalformedMessage("an address that is cut off")
    packed, port = _ADDRESS.unpack_from(data)
    if not port:
        return None
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address), port


def valid_endpoint(value: Any) -> Endpoint:
    """`[host, port]` from JSON as an endpoint; MalformedMessage when it is no unicast address and port."""
    try:
        host, port = value
        if type(host) is not str or "%" in host:  # a number would be an address to the library; a zone is not ours
            raise MalformedMessage("no address")
        address = ipaddress.ip_address(host)
    except (ValueError, TypeError):
        raise MalformedMessage("not an address and port") from None
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if type(port) is not int or not 0 < port < 65536 or address.is_multicast or address.is_unspecified:
        raise MalformedMessage("not a unicast address and port")
    if address == _BROADCAST:
        raise MalformedMessage("not a unicast address and port")
    return str(address), port


def valid_candidate(value: Any) -> Endpoint:
    """Read an endpoint that others may be told to try: not loopback, not link-local (RFC 8445, section 5.1.1.1)."""
    host, port = valid_endpoint(value)
    address = ipaddress.ip_address(host)
    if address.is_loopback or (address.version == 6 and address.is_link_local):
        raise MalformedMessage("an address that means another host to each")
    return host, port
