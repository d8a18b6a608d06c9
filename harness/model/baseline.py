"""The topology as the underlay's baseline sees it: homes with one and the same subnet have one each meanwhile. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network

from harness.model.family import FAMILIES, Address, Family, Network, family_of
from harness.model.nodes import Attachment, Router
from harness.model.topology import Topology

# The ranges that are set aside for measurements of networks (RFC 2544, RFC 5180); one subnet of so many bits a LAN.
STAND_INS: Mapping[Family, tuple[Network, int]] = {
    "ipv4": (IPv4Network("198.18.0.0/15"), 23),
    "ipv6": (IPv6Network("2001:2::/48"), 64),
}

_Moved = Mapping[tuple[str, Address], Address]


def member_lans(topology: Topology) -> list[str]:
    """Return the segments on which members sit behind a router."""
    return sorted({topology.hosts[name].on for name in topology.members if topology.hosts[name].via is not None})


def baseline_topology(topology: Topology) -> Topology:
    """Return the topology with a subnet of its own for each LAN that shares one with another; else as it is.

    Hosts of such LANs cannot name each other: what they send to the other's address stays in their own LAN. Where the
    members have no IP version in common, LANs without IPv4 have it meanwhile.
    """
    if not topology.common_families(topology.members):
        topology = _with_ipv4(topology)
    subnets = {(lan, family): subnet for family in FAMILIES for lan, subnet in _stand_ins(topology, family)}
    if not subnets:
        return topology
    moved: dict[tuple[str, Address], Address] = {}
    for attached in topology.attachments().values():
        for attachment in attached:
            for address in attachment.addresses:
                subnet = subnets.get((attachment.on, family_of(address)))
                if subnet is not None:
                    number = sum(1 for segment, _ in moved if segment == attachment.on)
                    moved[attachment.on, address] = subnet[number + 1]
    segments = {
        name: segment.model_copy(
            update={
                "subnets": tuple(
                    subnets.get((name, "ipv4" if subnet.version == 4 else "ipv6"), subnet) for subnet in segment.subnets
                )
            }
        )
        for name, segment in topology.segments.items()
    }
    hosts = {name: _with(host, moved) for name, host in topology.hosts.items()}
    routers = {name: _router_with(router, moved) for name, router in topology.routers.items()}
    return topology.model_copy(update={"segments": segments, "hosts": hosts, "routers": routers})


def _with_ipv4(topology: Topology) -> Topology:
    """Return the topology with IPv4 on each LAN that has none, out of the end of the stand-ins' range."""
    network, bits = STAND_INS["ipv4"]
    lans = [lan for lan in member_lans(topology) if topology.segments[lan].ipv4 is None]
    subnets: dict[str, Network] = dict(zip(lans, reversed(list(network.subnets(new_prefix=bits))), strict=False))
    given: dict[str, int] = {}

    def added(attachment: Attachment) -> Attachment:
        subnet = subnets.get(attachment.on)
        if subnet is None:
            return attachment
        given[attachment.on] = given.get(attachment.on, 0) + 1
        return attachment.model_copy(update={"addresses": (*attachment.addresses, subnet[given[attachment.on]])})

    segments = {
        name: segment.model_copy(update={"subnets": (*segment.subnets, subnets[name])}) if name in subnets else segment
        for name, segment in topology.segments.items()
    }
    hosts = {name: added(host) for name, host in topology.hosts.items()}
    routers = {
        name: router.model_copy(
            update={"outside": added(router.outside), "inside": tuple(added(inside) for inside in router.inside)}
        )
        for name, router in topology.routers.items()
    }
    return topology.model_copy(update={"segments": segments, "hosts": hosts, "routers": routers})


def _stand_ins(topology: Topology, family: Family) -> list[tuple[str, Network]]:
    lans = [(subnet, lan) for lan in member_lans(topology) if (subnet := topology.segments[lan].of(family)) is not None]
    # Sorted, a subnet comes right behind one that contains it, or behind others that this one contains.
    lans.sort(key=lambda one: (int(one[0].network_address), one[0].prefixlen, one[1]))
    shared: set[str] = set()
    for (around, first), (subnet, lan) in zip(_widest(lans), lans[1:], strict=True):
        if int(subnet.network_address) <= int(around.broadcast_address):
            shared |= {first, lan}
    network, bits = STAND_INS[family]
    return list(zip(sorted(shared), network.subnets(new_prefix=bits), strict=False))


def _widest(lans: Sequence[tuple[Network, str]]) -> Iterator[tuple[Network, str]]:
    """Yield, for each but the first, the subnet before it that reaches furthest."""
    widest = None
    for subnet, lan in lans[:-1]:
        if widest is None or int(subnet.broadcast_address) > int(widest[0].broadcast_address):
            widest = subnet, lan
        yield widest


def _with(attachment: Attachment, moved: _Moved) -> Attachment:
    addresses = tuple(moved.get((attachment.on, address), address) for address in attachment.addresses)
    return attachment.model_copy(update={"addresses": addresses})


def _router_with(router: Router, moved: _Moved) -> Router:
    inside = tuple(_with(attachment, moved) for attachment in router.inside)
    return router.model_copy(update={"outside": _with(router.outside, moved), "inside": inside})
