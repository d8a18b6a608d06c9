"""What the outside sees of an inside host's IPv6 prefix."""

from __future__ import annotations

import socket
from ipaddress import IPv6Network

from harness.nat.discovery_setup import DiscoverySetup
from harness.nat.packet import Endpoint
from harness.nat.prefixes import translated
from harness.nat.wire import port_of


def prefix_seen(setup: DiscoverySetup, bound: socket.socket, mapped: Endpoint) -> str:
    """Return in which prefix the outside sees an inside host: `own`; or another, where all else of its endpoint stays.

    `translated` is said of any other change, as of a NAT for IPv6.
    """
    own = setup.inside[0].address
    if mapped == Endpoint(own, port_of(bound)):
        return "own"
    length = 64 if setup.prefix is None else setup.prefix.prefixlen
    prefix = IPv6Network((mapped.address, length), strict=False)
    kept = translated(own, prefix) == mapped.address and mapped.port == port_of(bound)
    return str(prefix) if kept else "translated"
