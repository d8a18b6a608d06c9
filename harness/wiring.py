"""Which interface of a router is what: pure, so that `plan` can show the rules that the lab would load."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from harness.model.topology import Topology
from harness.nat.ports import RouterPorts, port_blocks


def interface_name(node: str, number: int) -> str:
    """Mininet's name for a node's interface; interface k is attachment k, a router's outside is 0."""
    return f"{node}-eth{number}"


def router_ports(topology: Topology, name: str) -> RouterPorts:
    """A router's interfaces, addresses and inside networks as its ruleset needs them.

    Subscribers are all that is inside, and the address that the observer of the trial's own check takes there.
    """
    router = topology.routers[name]
    inside = {plug.on for plug in router.inside}
    plugged = [plug for node, plugs in topology.plugs().items() if node != name for plug in plugs if plug.on in inside]
    subscribers = [str(address) for plug in plugged for address in plug.addresses if address.version == 4]
    subnet = topology.segments[router.inside[0].on].subnet
    own = [str(address) for plug in router.inside for address in plug.addresses]
    observer = (str(host) for host in subnet.hosts() if str(host) not in subscribers and str(host) not in own)
    subscribers += list(islice(observer, 1))
    return RouterPorts(
        wan=interface_name(name, 0),
        wan_addresses=tuple(str(address) for address in router.outside.addresses),
        lans=tuple(interface_name(name, number) for number in range(1, 1 + len(router.inside))),
        lan_networks=tuple(str(topology.segments[plug.on].subnet) for plug in router.inside),
        subscribers=tuple(subscribers),
    )


def impossible_routers(topology: Topology) -> Iterator[tuple[str, str]]:
    """Name and reason of each router that lacks the addresses for its own behaviour."""
    for name, router in topology.routers.items():
        ports = router_ports(topology, name)
        try:
            ports.pool(router.nat)
            port_blocks(router.nat, ports)
        except ValueError as error:
            yield name, str(error)
