"""A router's side of PCP (RFC 6887) and NAT-PMP (RFC 6886): a request's octets to the answers'. No I/O."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import Protocol

from harness.nat.packet import Endpoint

PMP_PORT = 5351
_PCP, _NAT_PMP, _MAP, _UDP = 2, 0, 1, 17
_PCP_REQUEST = struct.Struct("!BBHI16s")
_PCP_MAP = struct.Struct("!12sB3xHH16s")
_PCP_ANSWER = struct.Struct("!BBxBII12x")
_UNSUPPORTED_VERSION, _REFUSED = 1, 2
_RETRY_S = 30


@dataclass(frozen=True)
class Lease:
    """A mapped external port and for how many seconds."""

    port: int
    lifetime_s: float


class MapsPorts(Protocol):
    """The router, as a request sees it."""

    @property
    def protocols(self) -> frozenset[str]:
        """The protocols that it speaks."""

    @property
    def external(self) -> str:
        """The address of the ports that it maps."""

    def lease(self, internal: Endpoint, wanted: int, lifetime_s: float, now: float) -> Lease | None:
        """Map a port; None: refused."""


def answer(request: bytes, source: Endpoint, router: MapsPorts, now: float) -> list[bytes]:
    """Return the datagrams that answer a request; none to what is no request."""
    if len(request) >= _PCP_REQUEST.size and request[0] == _PCP and "pcp" in router.protocols:
        return _pcp(request, source, router, now)
    if len(request) >= 2 and request[0] == _NAT_PMP and "nat-pmp" in router.protocols:
        return _nat_pmp(request, source, router, now)
    if len(request) >= 2 and router.protocols & {"pcp", "nat-pmp"}:
        return [struct.pack("!BBHI", _NAT_PMP, 0x80, _UNSUPPORTED_VERSION, int(now))]
    return []


def _pcp(request: bytes, source: Endpoint, router: MapsPorts, now: float) -> list[bytes]:
    _, operation, _, lifetime_s, _ = _PCP_REQUEST.unpack_from(request)
    if operation != _MAP or len(request) < _PCP_REQUEST.size + _PCP_MAP.size:
        return []
    nonce, protocol, port, wanted, _ = _PCP_MAP.unpack_from(request, _PCP_REQUEST.size)
    lease = router.lease(Endpoint(source.address, port), wanted, lifetime_s, now) if protocol == _UDP else None
    result, granted = (0, int(lease.lifetime_s)) if lease is not None else (_REFUSED, _RETRY_S)
    external = ipaddress.IPv6Address(f"::ffff:{router.external}").packed
    head = _PCP_ANSWER.pack(_PCP, 0x80 | operation, result, granted, int(now))
    return [head + _PCP_MAP.pack(nonce, protocol, port, lease.port if lease is not None else wanted, external)]


def _nat_pmp(request: bytes, source: Endpoint, router: MapsPorts, now: float) -> list[bytes]:
    operation = request[1]
    if operation == 0:
        address = ipaddress.IPv4Address(router.external).packed
        return [struct.pack("!BBHI4s", _NAT_PMP, 0x80, 0, int(now), address)]
    if operation != _MAP or len(request) < 12:
        return []
    _, _, _, port, wanted, lifetime_s = struct.unpack_from("!BBHHHI", request)
    lease = router.lease(Endpoint(source.address, port), wanted, lifetime_s, now)
    result, external, granted = (0, lease.port, int(lease.lifetime_s)) if lease is not None else (_REFUSED, 0, 0)
    return [struct.pack("!BBHIHHI", _NAT_PMP, 0x80 | operation, result, int(now), port, external, granted)]
