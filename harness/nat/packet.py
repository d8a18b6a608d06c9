"""What NATs and their tests look at of a packet: transport addresses, protocol, payload. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Protocol = Literal["udp", "tcp"]


class Endpoint(NamedTuple):
    """An IPv4 transport address."""

    address: str
    port: int


@dataclass(frozen=True)
class Packet:
    """What a NAT looks at, and a payload that it carries along."""

    source: Endpoint
    destination: Endpoint
    payload: bytes = b""
    protocol: Protocol = "udp"
