"""The two IP versions of an underlay, by name. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

Family = Literal["ipv4", "ipv6"]
FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def family_of(what: Address | Network) -> Family:
    """Return the IP version of an address or network."""
    return "ipv4" if what.version == 4 else "ipv6"
