"""Asking the router for a port: PCP (RFC 6887), and NAT-PMP (RFC 6886) for those that know only that. No I/O.

The two share a port and tell each other apart by the version byte; a router that knows NAT-PMP alone answers a PCP
request with version 0 and result 1 (RFC 6886, section 3.5), and then is asked in its own words.
"""

from __future__ import annotations

import ipaddress
import math
import struct

from overlays.refmesh.wire.control import Endpoint

ROUTER_PORT = 5351
NONCE_LEN = 12
LIFETIME_S = 600
RETRY_S = (0.25, 0.5, 1.0, 2.0)
REST_S = 300.0
"""A router that does not answer is asked again after so long."""
_PCP, _NATPMP, _MAP, _UDP = 2, 0, 1, 17
_PCP_HEAD = struct.Struct("!BBHI16s")
_PCP_MAP = struct.Struct("!12sB3xHH16s")
_PCP_ANSWER = struct.Struct("!BBxBII12x")
_PMP_REQUEST = struct.Struct("!BBHHHI")
_PMP_ANSWER = struct.Struct("!BBHIHHI")
_PMP_ADDRESS = struct.Struct("!BBHI4s")


class PortMapper:
    """Keeps one UDP port of ours mapped at one router."""

    def __init__(
        self, router: str, own: str, port: int, nonce: bytes, *, pcp: bool = True, natpmp: bool = True
    ) -> None:
        """`router` and `own`: IPv4 addresses; `port`: our local port; `nonce`: what PCP knows us by.

        The others: which protocols may be used.
        """
        self.router: Endpoint = (router, ROUTER_PORT)
        self.external: Endpoint | None = None
        """What the router has given us."""
        self.due_s = 0.0
        self.own = own
        self.port, self.nonce = port, nonce
        self._version = _PCP if pcp else _NATPMP
        self._natpmp = natpmp
        self._tries = 0
        self._host = ""
        self._mapped_port = 0

    def requests(self, now: float) -> list[bytes]:
        """Return what to send to the router now."""
        if now < self.due_s:
            return []
        self.due_s = now + (RETRY_S[self._tries] if self._tries < len(RETRY_S) else REST_S)
        self._tries += 1
        if self._tries > len(RETRY_S):
            self._tries, self.external = 0, None
            return []
        if self._version == _PCP:
            wanted = self._packed(self._host or "0.0.0.0")
            head = _PCP_HEAD.pack(_PCP, _MAP, 0, LIFETIME_S, self._packed(self.own))
            return [head + _PCP_MAP.pack(self.nonce, _UDP, self.port, self._mapped_port, wanted)]
        return [
            struct.pack("!BB", _NATPMP, 0),
            _PMP_REQUEST.pack(_NATPMP, _MAP, 0, self.port, self._mapped_port or self.port, LIFETIME_S),
        ]

    def receive(self, datagram: bytes, source: Endpoint, now: float) -> bool:
        """Take an answer; True when `external` has changed. Anything that is not from the router is ignored."""
        if source != self.router or len(datagram) < 8:
            return False
        before = self.external
        if datagram[0] == _PCP and len(datagram) >= _PCP_ANSWER.size + _PCP_MAP.size:
            self._on_pcp(datagram, now)
        elif datagram[0] == _NATPMP and self._version == _PCP:
            if self._natpmp:
                self._version, self._tries, self.due_s = _NATPMP, 0, now
        elif datagram[0] == _NATPMP:
            self._on_natpmp(datagram, now)
        return self.external != before

    def _on_pcp(self, datagram: bytes, now: float) -> None:
        _, operation, result, lifetime_s, _ = _PCP_ANSWER.unpack_from(datagram)
        nonce, protocol, port, external, packed = _PCP_MAP.unpack_from(datagram, _PCP_ANSWER.size)
        if operation != 0x80 | _MAP or (nonce, protocol, port) != (self.nonce, _UDP, self.port):
            return
        if result:
            self._refused(now)
            return
        address = ipaddress.IPv6Address(packed)
        self._got(str(address.ipv4_mapped or address), external, lifetime_s, now)

    def _on_natpmp(self, datagram: bytes, now: float) -> None:
        operation, result = datagram[1], int.from_bytes(datagram[2:4], "big")
        if operation == 0x80 and len(datagram) >= _PMP_ADDRESS.size and not result:
            self._host = str(ipaddress.IPv4Address(_PMP_ADDRESS.unpack_from(datagram)[4]))
        elif operation == 0x80 | _MAP and len(datagram) >= _PMP_ANSWER.size:
            _, _, _, _, port, self._mapped_port, lifetime_s = _PMP_ANSWER.unpack_from(datagram)
            if port != self.port:
                return
            if result:
                self._refused(now)
                return
            if self._host:  # else the answer that tells it was lost, and both are asked for again
                self._tries, self.due_s = 0, now + max(1.0, lifetime_s / 2)
        if self._host and self._mapped_port:
            self.external = (self._host, self._mapped_port)

    def _got(self, host: str, port: int, lifetime_s: int, now: float) -> None:
        self._host, self._mapped_port, self._tries = host, port, 0
        self.external = (host, port)
        # Renewed at half of its life (RFC 6887, section 11.2.1).
        self.due_s = now + max(1.0, lifetime_s / 2)

    def _refused(self, now: float) -> None:
        self.external, self._tries, self.due_s = None, 0, now + REST_S

    @staticmethod
    def _packed(address: str) -> bytes:
        return bytes(10) + b"\xff\xff" + ipaddress.IPv4Address(address).packed

    def deadline(self) -> float:
        """When `requests` has something."""
        return self.due_s if math.isfinite(self.due_s) else math.inf
