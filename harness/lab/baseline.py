"""The underlay baseline: for a moment, members reach each other by plain forwarding, as if every hole were punched.

The routers' NAT and filter rules stay loaded; traffic between LANs merely goes past them untracked, over routes that
stand only while the baseline is open. It is never open while an overlay runs: LAN addresses would become candidates.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from ipaddress import IPv4Address

from harness.lab.network import Lab
from harness.model.topology import Topology

TABLE = "baseline"


@contextlib.contextmanager
def open_underlay(lab: Lab) -> Iterator[None]:
    """Routes between all LANs of the members, and no connection tracking for what uses them."""
    topology = lab.topology
    lans = member_lans(topology)
    routes = {lan: next_hops(topology, lan) for lan in lans}
    crossed = sorted({router for hops in routes.values() for router in hops} | set(_routers_on(topology, lans)))
    networks = ", ".join(str(topology.segments[lan].subnet) for lan in lans)
    ruleset = (
        f"table ip {TABLE} {{\n"
        "  chain past_nat {\n"
        "    type filter hook prerouting priority raw; policy accept;\n"
        f"    ip saddr {{ {networks} }} ip daddr {{ {networks} }} notrack\n"
        "  }\n"
        "}\n"
    )
    for router in crossed:
        lab.nodes[router].check_output(["nft", "-f", "-"], stdin=ruleset)
    for lan, hops in routes.items():
        for router, hop in hops.items():
            lab.nodes[router].add_route(str(topology.segments[lan].subnet), str(hop))
    try:
        yield
    finally:
        for lan, hops in routes.items():
            for router in hops:
                lab.nodes[router].delete_route(str(topology.segments[lan].subnet))
        for router in crossed:
            lab.nodes[router].check_output(["nft", "delete", "table", "ip", TABLE])


def member_lans(topology: Topology) -> list[str]:
    """The segments on which members sit behind a router."""
    return sorted({topology.hosts[name].on for name in topology.members if topology.hosts[name].via is not None})


def next_hops(topology: Topology, lan: str) -> dict[str, IPv4Address]:
    """For every router not on `lan` itself: its neighbour on a shortest way there (breadth first)."""
    plugs = {name: [router.outside, *router.inside] for name, router in topology.routers.items()}
    frontier = deque(name for name, attachments in plugs.items() if any(plug.on == lan for plug in attachments))
    reached = set(frontier)
    hops: dict[str, IPv4Address] = {}
    while frontier:
        nearer = frontier.popleft()
        for name, attachments in plugs.items():
            if name in reached:
                continue
            shared = {plug.on for plug in attachments}
            for plug in plugs[nearer]:
                if plug.on in shared:
                    hops[name] = plug.addresses[0]
                    reached.add(name)
                    frontier.append(name)
                    break
    return hops


def _routers_on(topology: Topology, lans: list[str]) -> list[str]:
    return [name for name, router in topology.routers.items() if any(plug.on in lans for plug in router.inside)]
