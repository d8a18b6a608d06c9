"""Which interface of a router is what: pure, so that `plan` can show the rules that the lab would load."""

from __future__ import annotations

from harness.model.topology import Topology
from harness.nat.ruleset import RouterPorts


def interface_name(node: str, number: int) -> str:
    """Mininet's name for a node's interface; interface k is attachment k, a router's outside is 0."""
    return f"{node}-eth{number}"


def router_ports(topology: Topology, name: str) -> RouterPorts:
    """A router's interfaces, addresses and inside networks as its ruleset needs them."""
    router = topology.routers[name]
    return RouterPorts(
        wan=interface_name(name, 0),
        wan_addresses=tuple(str(address) for address in router.outside.addresses),
        lans=tuple(interface_name(name, number) for number in range(1, 1 + len(router.inside))),
        lan_networks=tuple(str(topology.segments[plug.on].subnet) for plug in router.inside),
    )
