"""Which way did the traffic go? Decided from the lab's counters and taps alone; the overlay is not asked. Pure.

A member's traffic is *direct* when, at its own access segment, the other end of its packets is the other member or a
router in front of it; anything else that carries the traffic is a relay. RFC 8445 would call the former a host,
server-reflexive or peer-reflexive pair and the latter a relayed one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.lab.counters import Flow
    from harness.lab.tap import Passing
    from harness.model.family import Address
    from harness.model.topology import Topology
    from harness.model.words import Verdict

# A direct session still sends keepalives to its server, and a relayed one still probes: small shares mean nothing.
DIRECT_SHARE = 0.9
RELAYED_SHARE = 0.1
# Largest overhead that a tunnel adds to an inner IP packet: two headers, padding, an Ethernet header inside.
MOST_OVERHEAD_BYTES = 200
IP_ICMP_HEADER_BYTES = 28


@dataclass(frozen=True)
class MemberAddresses:
    """A member as the network sees it: its own addresses, its access segment, and all addresses that can stand for it.

    Of both IP versions: a path may be direct in either.
    """

    own: frozenset[Address]
    segment: str
    public: frozenset[Address]


def front_of(topology: Topology, member: str) -> MemberAddresses:
    """A member's own addresses and those of the routers in front of it."""
    host = topology.hosts[member]
    addresses = set(host.addresses)
    for router in topology.routers_of(member):
        addresses.update(topology.routers[router].outside.addresses)
    return MemberAddresses(frozenset(host.addresses), host.on, frozenset(addresses))


def path_of_burst(counts: Mapping[Flow, int], a: MemberAddresses, b: MemberAddresses, burst_bytes: int) -> Verdict:
    """The verdict on a burst that was sent from `a` to `b` and answered.

    Args:
        counts: what the counters grew by during the burst, in bytes.
        burst_bytes: inner bytes of the burst, one way.

    Returns:
        `none` when the counters saw less than the burst: it did not cross the network as far as they can tell.
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
    if min(shares) >= DIRECT_SHARE:
        return "direct"
    if max(shares) <= RELAYED_SHARE:
        return "relayed"
    return "mixed"


def first_direct_s(seen: Sequence[Passing], a: MemberAddresses, b: MemberAddresses, payload_bytes: int) -> float | None:
    """When the first overlay ping was answered on a direct path, Unix time in seconds; None: not yet.

    Told by size: a packet that can hold the ping's inner packet, first out to the other side and then back from it.

    Args:
        seen: what passed `a`'s port, in order.
        payload_bytes: the ping's payload.
    """
    asked = False
    for passing in carriers(seen, payload_bytes):
        if passing.src in a.own and passing.dst in b.public:
            asked = True
        elif asked and passing.dst in a.own and passing.src in b.public:
            return passing.t
    return None


def carriers(seen: Iterable[Passing], payload_bytes: int) -> Iterable[Passing]:
    """The packets whose size fits a tunnelled (or plain) ping of that payload."""
    least = payload_bytes + IP_ICMP_HEADER_BYTES
    return (one for one in seen if least <= one.ip_bytes <= least + MOST_OVERHEAD_BYTES)
