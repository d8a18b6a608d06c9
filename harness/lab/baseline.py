"""The underlay baseline: for a moment, members reach each other by plain forwarding, as if every hole were punched.

The routers' NAT and filter rules stay loaded; traffic between LANs merely goes past them untracked, over routes that
stand only while the baseline is open. It is never open while an overlay runs: LAN addresses would become candidates.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from harness.lab.network import Lab
from harness.lab.routes import Route, next_hops, routes_of
from harness.model.family import Family
from harness.model.topology import Topology

TABLE = "inet baseline"


@contextlib.contextmanager
def open_underlay(lab: Lab) -> Iterator[None]:
    """Open routes between all LANs of the members, and track no connection that uses them, while the block runs.

    In IPv4 where all members have it, else in IPv6.
    """
    topology = lab.topology
    family = topology.common_families(topology.members)[0]
    lans = member_lans(topology)
    added = added_routes(topology, family)
    crossed = sorted(added.keys() | set(_routers_on(topology, lans)))
    networks = ", ".join(str(topology.segments[lan].of(family)) for lan in lans)
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
            lab.nodes[router].add_route(route.network, route.gateway)
    try:
        yield
    finally:
        for router, routes in added.items():
            for route in routes:
                lab.nodes[router].delete_route(route.network)
        for router in crossed:
            lab.nodes[router].check_output(["nft", "delete", "table", *TABLE.split()])


def member_lans(topology: Topology) -> list[str]:
    """Return the segments on which members sit behind a router."""
    return sorted({topology.hosts[name].on for name in topology.members if topology.hosts[name].via is not None})


def added_routes(topology: Topology, family: Family) -> dict[str, list[Route]]:
    """Return, by router, the routes to members' LANs that it does not have by itself."""
    added: dict[str, list[Route]] = {}
    for lan in member_lans(topology):
        network = str(topology.segments[lan].of(family))
        for router, hop in next_hops(topology, lan, family).items():
            if all(route.network != network for route in routes_of(topology, router)):
                added.setdefault(router, []).append(Route(family, network, str(hop)))
    return added


def _routers_on(topology: Topology, lans: list[str]) -> list[str]:
    return [
        name for name, router in topology.routers.items() if any(attachment.on in lans for attachment in router.inside)
    ]
