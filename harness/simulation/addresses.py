"""Addresses of a simulated Internet, in the order in which they are given out. Pure."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterator

from harness.errors import OverlaybenchError

PUBLIC = ipaddress.IPv4Network("45.0.0.0/8")
PUBLIC6 = int(ipaddress.IPv6Address("2a00:45::"))
HOMES = (ipaddress.IPv4Network("192.168.0.0/16"), ipaddress.IPv4Network("172.16.0.0/12"))
CARRIERS = ipaddress.IPv4Network("100.64.0.0/10")
"""RFC 6598."""


class AddressesUsedUp(OverlaybenchError):
    """Every address of a network has been given out."""

    def __init__(self, network: str) -> None:
        super().__init__(f"all addresses of {network} have been given out")


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
    """Private /24s (RFC 1918): the prefix, the router's address in it, those of its hosts; again after 4,352.

    Homes do not see each other's inside, so two may have the same.
    """
    return _over_and_over(HOMES)


def carrier_networks() -> Iterator[tuple[str, str, Iterator[str]]]:
    """Shared /24s (RFC 6598), in the same form; again after 16,384."""
    return _over_and_over((CARRIERS,))


def _over_and_over(blocks: tuple[ipaddress.IPv4Network, ...]) -> Iterator[tuple[str, str, Iterator[str]]]:
    return (_split(each) for _ in itertools.count() for block in blocks for each in block.subnets(new_prefix=24))


def _split(network: ipaddress.IPv4Network) -> tuple[str, str, Iterator[str]]:
    router = network.network_address + 1
    return str(network), str(router), (str(router + number) for number in range(1, 254))
