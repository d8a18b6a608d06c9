"""What NATs and their tests look at of a packet: transport addresses, protocol, payload. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

Protocol = Literal["udp", "tcp"]


class Endpoint(NamedTuple):
    """An IPv4 transport address."""

    address: str
    port: int


class Packet(NamedTuple):
    """What a NAT looks at, and a payload that it carries along."""

    source: Endpoint
    destination: Endpoint
    payload: bytes = b""
    protocol: Protocol = "udp"

    def sent_by(self, source: Endpoint) -> Packet:
        """Return the packet with another source."""
        return Packet(source, self.destination, self.payload, self.protocol)

    def sent_to(self, destination: Endpoint) -> Packet:
        """Return the packet with another destination."""
        return Packet(self.source, destination, self.payload, self.protocol)
