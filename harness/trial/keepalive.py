"""Keepalives of a waiting trial, which hold its paths open as a user's traffic would.

Otherwise NAT mappings and overlay sessions would end meanwhile, and a trial's outcome would depend on how long it
waits, that is, on how many others are running.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Iterator, Sequence

from harness.model.topology import Topology
from harness.probes.asking import asking
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
    """Use each pair's paths until the block ends: pings from the first member to the second, or requests over streams.

    Streams are used in both directions, since each may have a tunnel of its own, and over one connection each. Content
    would have to be another file each time, which is what is measured: a trial of content alone does not wait half-way.
    """
    pings = [
        target.start(target.src, ["ping", "-n", "-q", "-i", f"{every_s:g}", str(target.destination)], "keepalive.log")
        for target in targets
        if "interface" in target.kinds
    ]
    streams = [
        way
        for target in targets
        for way in (target, target.reversed())
        if "stream" in way.kinds and "interface" not in target.kinds
    ]
    try:
        with asking(streams, [random.Random() for _ in streams]) as askers:
            for asker in askers:
                asker.ask(math.inf, every_s, together=True)
            yield
    finally:
        for ping in pings:
            ping.stop()
