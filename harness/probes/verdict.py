"""The way that the traffic took, decided from the lab's counters and taps alone, not by asking the overlay. Pure.

A member's traffic is *direct* when, at its own access segment, the other end of its packets is the other member or a
router in front of it; anything else that carries the traffic is a relay. RFC 8445 would call the former a host,
server-reflexive or peer-reflexive pair and the latter a relayed one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.model.baseline import baseline_topology
from harness.model.nat64 import with_synthesised

if TYPE_CHECKING:
    from harness.lab.counters import Flow
    from harness.model.family import Address
    from harness.model.topology import Topology
    from harness.model.words import Verdict

# A direct session still sends keepalives to its server, and a relayed one still probes: small shares mean nothing.
DIRECT_SHARE = 0.9
RELAYED_SHARE = 0.1


@dataclass(frozen=True)
class MemberAddresses:
    """A member as the network sees it: its own addresses, its access segment, and all addresses that can stand for it.

    Of both IP versions: a path may be direct in either.
    """

    own: frozenset[Address]
    segment: str
    public: frozenset[Address]


def member_addresses(topology: Topology, member: str) -> MemberAddresses:
    """Return a member's own addresses and those of the routers in front of it."""
    host = topology.hosts[member]
    # Where homes share a subnet, the baseline has others; nothing else is ever sent from or to them.
    own = {*host.addresses, *baseline_topology(topology).hosts[member].addresses}
    addresses = set(own)
    for router in topology.routers_of(member):
        addresses.update(topology.routers[router].outside.addresses)
    return MemberAddresses(frozenset(own), host.on, frozenset(with_synthesised(addresses)))


def path_of_burst(counts: Mapping[Flow, int], a: MemberAddresses, b: MemberAddresses, burst_bytes: int) -> Verdict:
    """Judge a burst that was sent from `a` to `b` and answered.

    Args:
        counts: what the counters grew by during the burst, in bytes.
        burst_bytes: inner bytes of the burst, one way.

    Returns:
        `asymmetric` when one direction is direct and the other is relayed, `mixed` when a direction is neither, `none`
        when the counters saw less than the burst: it did not cross the network as far as they can tell.
    """
    shares = []
    for one, other in ((a, b), (b, a)):
        for outgoing in (True, False):
            direct = relayed = 0
            for flow, size in counts.items():
                near, far = (flow.src, flow.dst) if outgoing else (flow.dst, flow.src)
                if flow.segment != one.segment or near not in one.own:
                    continue
                if far in other.public:
                    direct += size
                else:
                    relayed += size
            if direct + relayed < burst_bytes:
                return "none"
            shares.append(direct / (direct + relayed))
    a_sent, a_got, b_sent, b_got = shares
    ways = {_way(min(way), max(way)) for way in ((a_sent, b_got), (b_sent, a_got))}
    if len(ways) == 1:
        return ways.pop()
    return "mixed" if "mixed" in ways else "asymmetric"


def path_of_content(
    counts: Mapping[Flow, int], src: MemberAddresses, dst: MemberAddresses, content_bytes: int
) -> Verdict:
    """Judge content that left `src` and reached `dst`; what goes back is little, and may go anywhere.

    Args:
        counts: what the counters grew by meanwhile, in bytes.
        content_bytes: its size.

    Returns:
        `none` when the counters saw less than the content at one of the ends.
    """
    shares = []
    for near, far, outgoing in ((src, dst, True), (dst, src, False)):
        direct = relayed = 0
        for flow, size in counts.items():
            own, other = (flow.src, flow.dst) if outgoing else (flow.dst, flow.src)
            if flow.segment == near.segment and own in near.own:
                if other in far.public:
                    direct += size
                else:
                    relayed += size
        if direct + relayed < content_bytes:
            return "none"
        shares.append(direct / (direct + relayed))
    return _way(min(shares), max(shares))


def _way(least: float, most: float) -> Verdict:
    """Return one direction's verdict, from the shares of direct bytes where it leaves and where it arrives."""
    if least >= DIRECT_SHARE:
        return "direct"
    return "relayed" if most <= RELAYED_SHARE else "mixed"
