"""Each node's routes, read off the topology. Pure.

As on the Internet: a host or a router with `via` sends everything there. Nodes outside a router have routes to the
networks behind it, except to IPv4 networks behind a NAT, and by the prefix that the outside sees (RFC 6296). To a
network with several routers in front they go by the one that its nodes use.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.model.family import FAMILIES, Address, Family
from harness.model.nodes import Outside
from harness.model.topology import Host, Topology


@dataclass(frozen=True)
class Route:
    """Packets to `network` (CIDR, or `default`) go to `gateway`."""

    family: Family
    network: str
    gateway: str


def routes_of(topology: Topology, node: str) -> list[Route]:
    """Return the routes of a node beyond its own segments."""
    return [route for family in FAMILIES for route in _routes(topology, node, family)]


def _routes(topology: Topology, node: str, family: Family) -> Iterator[Route]:
    first, *others = topology.attachments()[node]
    if not any(attachment.of(family) for attachment in (first, *others)):
        return
    via = first.via if isinstance(first, Host) else topology.routers[node].outside.via
    if via is not None and topology.routers[via].carries(family, first.on):
        yield Route(family, "default", str(_inside_address(topology, via, first.on, family)))
    # What lies on the way of the default route need not be known.
    known_on = {attachment.on for attachment in others} | ({first.on} if via is None else set())
    own = {str(topology.segments[attachment.on].of(family)) for attachment in (first, *others)}
    inside = routers_inside(topology)
    for name, router in topology.routers.items():
        if name == node or router.outside.on not in known_on or not router.outside.of(family):
            continue
        # A route to a network of its own would replace the one that the kernel made.
        for network, part_of in _behind(topology, name, family, inside):
            if part_of not in own:
                yield Route(family, network, str(router.outside.of(family)[0]))


def _behind(
    topology: Topology, name: str, family: Family, inside: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, str]]:
    """Yield what a router shows to its outside and the subnet that it is of; `inside`: the routers by segment.

    That is the whole subnet, or, where that is another router's to show, the addresses of those that use this one.
    """
    router = topology.routers[name]
    if not router.forwards(family) or (family == "ipv4" and router.nat.translates):
        return
    if family == "ipv6" and router.nat.nptv6 is not None:
        yield str(router.nat.nptv6), str(router.nat.nptv6)
        return
    for attachment in router.inside:
        subnet = topology.segments[attachment.on].of(family)
        if subnet is None or not attachment.of(family):
            continue
        if _in_front(topology, attachment.on, family, inside[attachment.on]) == name:
            yield str(subnet), str(subnet)
        else:
            users = _users(topology, attachment.on, name)
            addresses = (address for user in users for address in user.of(family))
            yield from ((f"{address}/{address.max_prefixlen}", str(subnet)) for address in addresses)
    for other, further in topology.routers.items():
        if further.outside.via == name:
            yield from _behind(topology, other, family, inside)


def _in_front(topology: Topology, segment: str, family: Family, inside: Sequence[str]) -> str | None:
    """Return the router by which others reach a network: of several the one that most nodes there send everything to.

    A stateful firewall drops answers that come back by another router than the questions went. `inside`: the routers on
    that segment.
    """
    if len(inside) == 1:  # as nearly everywhere; the rest takes long in a large topology
        return inside[0]
    showing = [
        name
        for name in inside
        if topology.routers[name].carries(family, segment) and not _translates(topology, name, family)
    ]
    return max(showing, key=lambda name: len(_users(topology, segment, name)), default=None)


def _translates(topology: Topology, router: str, family: Family) -> bool:
    nat = topology.routers[router].nat
    return nat.translates if family == "ipv4" else nat.nptv6 is not None


def routers_inside(topology: Topology) -> dict[str, list[str]]:
    """Return, by segment, the routers with an inside on it."""
    inside: dict[str, list[str]] = {}
    for name, router in topology.routers.items():
        for attachment in router.inside:
            inside.setdefault(attachment.on, []).append(name)
    return inside


def _users(topology: Topology, segment: str, router: str) -> list[Host | Outside]:
    """Return what is plugged in on a segment and sends everything to a router."""
    nodes: list[Host | Outside] = [*topology.hosts.values(), *(one.outside for one in topology.routers.values())]
    return [one for one in nodes if one.on == segment and one.via == router]


def _inside_address(topology: Topology, router: str, segment: str, family: Family) -> Address:
    attachment = topology.routers[router].inside_on(segment)
    assert attachment is not None  # the topology's rules
    return attachment.of(family)[0]


def next_hops(topology: Topology, lan: str, family: Family) -> dict[str, Address]:
    """Return, for every router and public member not on `lan`, its neighbour on a shortest way there, NAT or not.

    Breadth first.
    """
    public = [name for name in topology.members if topology.hosts[name].via is None]
    attached = {
        name: [attachment for attachment in topology.attachments()[name] if attachment.of(family)]
        for name in (*topology.routers, *public)
    }
    there = [name for name, attachments in attached.items() if any(attachment.on == lan for attachment in attachments)]
    # Hosts forward nothing.
    frontier = deque(name for name in there if name in topology.routers)
    reached = set(there)
    hops: dict[str, Address] = {}
    while frontier:
        nearer = frontier.popleft()
        for name, attachments in attached.items():
            if name in reached:
                continue
            shared = {attachment.on for attachment in attachments}
            for attachment in attached[nearer]:
                if attachment.on in shared:
                    hops[name] = attachment.of(family)[0]
                    reached.add(name)
                    if name in topology.routers:
                        frontier.append(name)
                    break
    return hops
