"""Addresses of a simulated Internet, in the order in which they are given out. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

PUBLIC = ipaddress.IPv4Network("45.0.0.0/8")
PUBLIC6 = int(ipaddress.IPv6Address("2a00:45::"))
HOMES = (ipaddress.IPv4Network("192.168.0.0/16"), ipaddress.IPv4Network("172.16.0.0/12"))
CARRIERS = ipaddress.IPv4Network("100.64.0.0/10")
"""RFC 6598."""


def public_addresses() -> Iterator[str]:
    """IPv4 addresses that look public, the n-th in a /24 of its own: 45.0.0.1, 45.0.1.1 and so on."""
    for row in range(254):
        for network in range(1 << 16):
            yield str(PUBLIC.network_address + (network << 8) + 1 + row)


def ipv6_addresses() -> Iterator[str]:
    """Global IPv6 addresses, each in a /64 of its own."""
    number = 0
    while True:
        yield str(ipaddress.IPv6Address(PUBLIC6 + (number << 64) + 1))
        number += 1


def home_networks() -> Iterator[tuple[str, str, Iterator[str]]]:
    """Private /24s (RFC 1918): the prefix, the router's address in it, those of its hosts."""
    return (_split(network) for block in HOMES for network in block.subnets(new_prefix=24))


def carrier_networks() -> Iterator[tuple[str, str, Iterator[str]]]:
    """Shared /24s (RFC 6598), in the same form."""
    return (_split(network) for network in CARRIERS.subnets(new_prefix=24))


def _split(network: ipaddress.IPv4Network) -> tuple[str, str, Iterator[str]]:
    router = network.network_address + 1
    return str(network), str(router), (str(router + number) for number in range(1, 254))
