"""The underlay baseline: for a moment, members reach each other by plain forwarding, as if every hole were punched.

The routers' NAT and filter rules stay loaded; traffic between LANs merely goes past them untracked, over routes that
stand only while the baseline is open. It is never open while an overlay runs: LAN addresses would become candidates.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from harness.lab.network import Lab
from harness.lab.plugging import put_route
from harness.lab.routes import Route, next_hops, routes_of
from harness.model.baseline import baseline_topology, member_lans
from harness.model.family import Family
from harness.model.topology import Topology
from harness.topology.wiring import announced_mtus

TABLE = "inet baseline"


@contextlib.contextmanager
def open_underlay(lab: Lab) -> Iterator[None]:
    """Open routes to all LANs of the members, and track no connection that uses them, while the block runs.

    From the other LANs and from the members that are public. In IPv4 where all members have it, else in IPv6.
    """
    topology = baseline_topology(lab.topology)
    family = topology.common_families(topology.members)[0]
    lans = member_lans(topology)
    added, announced = added_routes(topology, family), announced_mtus(topology)
    crossed = sorted(added.keys() | set(_routers_on(topology, lans)))
    public = [host for name in topology.members if (host := topology.hosts[name]).via is None]
    ends = [*(topology.segments[lan].of(family) for lan in lans), *(one for host in public for one in host.of(family))]
    networks = ", ".join(map(str, ends))
    header = "ip" if family == "ipv4" else "ip6"
    ruleset = (
        f"table {TABLE} {{\n"
        "  chain past_nat {\n"
        "    type filter hook prerouting priority raw; policy accept;\n"
        f"    {header} saddr {{ {networks} }} {header} daddr {{ {networks} }} notrack\n"
        "  }\n"
        "}\n"
    )
    for router in crossed:
        lab.nodes[router].check_output(["nft", "-f", "-"], stdin=ruleset)
    for router, routes in added.items():
        for route in routes:
            lab.nodes[router].add_route(route.network, route.gateway, announced.get(ip_address(route.gateway)))
    standing_in = _Standing(lab, topology, family)
    standing_in.begin()

    def follow(topologies: Sequence[Topology]) -> None:
        """Lead by a router's new address, when it has one."""
        if len(topologies) > 1:
            return  # it is not there yet
        changed = baseline_topology(topologies[0])
        now = added_routes(changed, family)
        for name, routes in added.items():
            leads = {route.network: route for route in now.get(name, ())}
            for number, route in enumerate(routes):
                lead = leads.get(route.network, route)
                if lead != route:
                    routes[number] = lead
                    put_route(lab, changed, name, lead, announced_mtus(changed).get(ip_address(lead.gateway)))

    lab.followers[TABLE] = follow
    try:
        yield
    finally:
        del lab.followers[TABLE]
        standing_in.end()
        for router, routes in added.items():
            for route in routes:
                lab.nodes[router].delete_route(route.network)
        for router in crossed:
            lab.nodes[router].check_output(["nft", "delete", "table", *TABLE.split()])


class _Standing:
    """The addresses that homes with a common subnet have while the baseline is open (`harness.model.baseline`)."""

    def __init__(self, lab: Lab, topology: Topology, family: Family) -> None:
        self._lab, self._family = lab, family
        ordinary = lab.topology.attachments()
        # Node, interface, address and prefix length; and by host the router's address that it sends everything to.
        self._addresses = [
            (node, lab.interface(node, number), address, topology.prefix_length(attachment, address))
            for node, attached in topology.attachments().items()
            for number, attachment in enumerate(attached)
            for address in attachment.of(family)
            if address not in ordinary[node][number].addresses
        ]
        moved = {node for node, *_ in self._addresses}
        self._gateways = {
            name: str(inside.of(family)[0])
            for name, host in topology.hosts.items()
            if name in moved and host.via and (inside := topology.routers[host.via].inside_on(host.on)) is not None
        }

    def begin(self) -> None:
        """Set them, and have hosts send from them."""
        for node, interface, address, length in self._addresses:
            self._lab.nodes[node].add_address(interface, str(address), length)
        for host, gateway in self._gateways.items():
            for half in _HALVES[self._family]:
                self._lab.nodes[host].add_route(half, gateway)

    def end(self) -> None:
        """Take them away."""
        for host in self._gateways:
            for half in _HALVES[self._family]:
                self._lab.nodes[host].delete_route(half)
        for node, interface, address, length in self._addresses:
            self._lab.nodes[node].delete_address(interface, str(address), length)


# Together they are everywhere, and more to the point than a default route.
_HALVES: dict[Family, tuple[str, str]] = {"ipv4": ("0.0.0.0/1", "128.0.0.0/1"), "ipv6": ("::/1", "8000::/1")}


def added_routes(topology: Topology, family: Family) -> dict[str, list[Route]]:
    """Return, by router and public member, the routes to members' LANs that it does not have by itself."""
    added: dict[str, list[Route]] = {}
    known: dict[str, set[str]] = {}
    for lan in member_lans(topology):
        network = str(topology.segments[lan].of(family))
        for router, hop in next_hops(topology, lan, family).items():
            if router not in known:  # once each: there may be hundreds of both
                known[router] = {route.network for route in routes_of(topology, router)}
            if network not in known[router]:
                added.setdefault(router, []).append(Route(family, network, str(hop)))
    return added


def _routers_on(topology: Topology, lans: list[str]) -> list[str]:
    return [
        name for name, router in topology.routers.items() if any(attachment.on in lans for attachment in router.inside)
    ]
