"""The links at which the traffic that members and server send leaves their sites, where it is counted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.link.accounting import DirectionCounts
    from harness.model.topology import Topology

ETHERNET_HEADER_BYTES = 14


def exits(topology: Topology) -> dict[str, frozenset[str]]:
    """Return the links by which the members' sites and the server reach the outermost segment, keyed by site."""
    if topology.mininet is not None:
        return {"members": frozenset(), "server": frozenset()}

    def exits(hosts: Collection[str]) -> frozenset[str]:
        nodes = {[host, *topology.routers_of(host)][-1] for host in hosts}
        return frozenset(f"{node}-{topology.attachments()[node][0].on}" for node in nodes)

    return {
        "members": exits(topology.members),
        "server": exits([topology.server] if topology.server is not None else []),
    }


def sent_over(carried: Mapping[str, Mapping[str, DirectionCounts]], links: Collection[str]) -> tuple[int, int] | None:
    """Return the IP bytes and packets that went up these links; None where one is not counted, or there is none.

    Args:
        carried: what each impaired link carried, as in `Accounting.counts`.
    """
    if not links or not all(link in carried for link in links):
        return None
    ways = [carried[link]["up"] for link in links]
    packets = sum(way.sent for way in ways)
    return sum(way.sent_bytes for way in ways) - ETHERNET_HEADER_BYTES * packets, packets


def sent_per_byte(
    carried: Mapping[str, Mapping[str, DirectionCounts]], places: Mapping[str, Collection[str]], useful_bytes: int
) -> Iterator[tuple[str, float]]:
    """Yield what the server's and the members' sites sent, in IP bytes a useful byte, where all of it is counted.

    Args:
        carried: what each impaired link carried, as in `Accounting.counts`.
        places: the links at which it leaves, as of `exits`.
        useful_bytes: what programs sent each other meanwhile.
    """
    for who, place in (("server", "server"), ("member", "members")):
        sent = sent_over(carried, places[place])
        if sent is not None and useful_bytes:
            yield who, sent[0] / useful_bytes
