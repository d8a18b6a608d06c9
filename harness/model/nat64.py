"""Addresses by which hosts with IPv6 alone reach IPv4 through a translator (RFC 6052, RFC 6146). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Network

from harness.model.family import Address

# The well-known prefix (RFC 6052 section 2.1): of public IPv4 addresses, as those of all our exchanges are.
PREFIX = IPv6Network("64:ff9b::/96")


def synthesised(address: IPv4Address) -> Address:
    """Return the IPv6 address that a DNS64 makes of an IPv4 one (RFC 6147 section 5.1.7)."""
    return PREFIX[int(address)]


def with_synthesised(addresses: Iterable[Address]) -> set[Address]:
    """Return addresses, and those by which hosts behind a translator know the IPv4 ones."""
    known = set(addresses)
    return known | {synthesised(address) for address in known if isinstance(address, IPv4Address)}
