"""Control frames: what two refmesh nodes, or node and server, say inside a session.

A decrypted payload whose first four bits are 0 is no IP packet but a control frame; a plain WireGuard peer never gets
one. Layout: type (u8), reserved (u8, zero), length of the body (u16, big-endian), body. Padding may follow.

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

Endpoint = tuple[str, int]
"""Underlay address: literal IP address and port. `("tls", n)` stands for stream number n to or from a server."""


def frame(kind: int, body: bytes, flags: int = 0) -> bytes:
    """A control frame."""
    return _HEAD.pack(kind, flags, len(body)) + body


def json_frame(kind: int, body: Any) -> bytes:
    """A control frame with a JSON body."""
    return frame(kind, json.dumps(body, separators=(",", ":")).encode())


def read(payload: bytes) -> tuple[int, bytes]:
    """Type and body of a control frame without its padding; MalformedMessage when it is cut off."""
    if len(payload) < _HEAD.size:
        raise MalformedMessage("a control frame without a head")
    kind, _, length = _HEAD.unpack_from(payload)
    if len(payload) < _HEAD.size + length:
        raise MalformedMessage("a control frame that is cut off")
    return kind, payload[_HEAD.size : _HEAD.size + length]


def read_json(body: bytes) -> dict[str, Any]:
    """A JSON body, which must be an object; MalformedMessage otherwise."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedMessage("a body that is not JSON") from None
    if not isinstance(value, dict):
        raise MalformedMessage("a JSON body that is no object")
    return value


@functools.lru_cache(1024)
def pack_endpoint(endpoint: Endpoint | None) -> bytes:
    """An address and port as 18 bytes, IPv4 in its IPv6-mapped form; zeros for None and for a stream."""
    if endpoint is None or endpoint[0] == "tls":
        return bytes(_ADDRESS.size)
    address = ipaddress.ip_address(endpoint[0])
    packed = address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
    return _ADDRESS.pack(packed, endpoint[1])


def unpack_endpoint(data: bytes) -> Endpoint | None:
    """The reverse of `pack_endpoint`; None for zeros. MalformedMessage when it is too short."""
    if len(data) < _ADDRESS.size:
        raise MalformedMessage("an address that is cut off")
    packed, port = _ADDRESS.unpack_from(data)
    if not port:
        return None
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address), port


def candidates(told: Any) -> list[tuple[str, str, int]]:
    """Candidates from JSON, a list of `[kind, host, port]`, as (kind, host, port); what is none of use is left out.

    One bad one must not cost the others: a node that told of one would be offline, and so would those that hear of it.
    """
    found = []
    for candidate in told if isinstance(told, list) else ():
        try:
            kind, host, port = candidate
            found.append((str(kind)[:20], *valid_endpoint((host, port))))
        except (MalformedMessage, TypeError, ValueError):
            continue
    return found


def valid_endpoint(value: Any) -> Endpoint:
    """`[host, port]` from JSON as an endpoint; MalformedMessage when it is no unicast address and port."""
    try:
        host, port = value
        address = ipaddress.ip_address(str(host))
    except (ValueError, TypeError):
        raise MalformedMessage("not an address and port") from None
    if not isinstance(port, int) or not 0 < port < 65536 or not _reachable(address):
        raise MalformedMessage("not a unicast address and port")
    return str(address), port


def _reachable(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    # A link-local address means something only together with a link of the one who tells it.
    link_local = address.version == 6 and address.is_link_local
    return not (address.is_multicast or address.is_unspecified or link_local or "%" in str(address))
