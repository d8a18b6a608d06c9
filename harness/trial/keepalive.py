"""Keepalives of a waiting trial, which hold its paths open as a user's traffic would.

Otherwise NAT mappings and overlay sessions would end meanwhile, and a trial's outcome would depend on how long it
waits, that is, on how many others are running.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from harness.model.topology import Topology
from harness.probes.measurement import Target

_MOST_S, _LEAST_S = 1.0, 0.2


def interval_s(topology: Topology) -> float:
    """Return how often a path is used: once a second, and twice in the shortest lifetime of any router's mappings."""
    shortest = min(
        (
            lifetime
            for router in topology.routers.values()
            for lifetime in (router.nat.udp_lifetime_s, router.nat.tcp_established_lifetime_s)
        ),
        default=2 * _MOST_S,
    )
    return max(_LEAST_S, min(_MOST_S, shortest / 2))


@contextlib.contextmanager
def paths_kept(targets: Sequence[Target], every_s: float) -> Iterator[None]:
    """Ping over each pair that has interfaces, from the first member to the second, until the block ends.

    A pair with streams alone has nothing that listens between two measurements: its overlay's own keepalives have to
    do.
    """
    pings = [
        target.start(target.src, ["ping", "-n", "-q", "-i", f"{every_s:g}", str(target.destination)], "keepalive.log")
        for target in targets
        if "interface" in target.kinds
    ]
    try:
        yield
    finally:
        for ping in pings:
            ping.stop()
