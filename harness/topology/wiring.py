"""Which interface of a router is what: pure, so that `plan` can show the rules that the lab would load."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from harness.model.nat import NatBehaviour
from harness.model.nat_ipv6 import ipv6_alone
from harness.model.topology import Topology
from harness.nat.ports import RouterPorts, port_blocks


def interface_name(node: str, number: int) -> str:
    """Return Mininet's name for a node's interface; interface k is attachment k, a router's outside is 0."""
    return f"{node}-eth{number}"


def router_ports(topology: Topology, name: str) -> RouterPorts:
    """Return a router's interfaces, addresses and inside networks as its ruleset needs them.

    Subscribers are all that is inside, and the address that the observer of the trial's own check takes there.
    """
    router = topology.routers[name]
    inside = {attachment.on for attachment in router.inside}
    plugged = [
        attachment
        for node, attached in topology.attachments().items()
        if node != name
        for attachment in attached
        if attachment.on in inside
    ]
    subscribers = [str(address) for attachment in plugged for address in attachment.ipv4]
    subnet = topology.segments[router.inside[0].on].ipv4
    taken = {*subscribers, *(str(address) for attachment in router.inside for address in attachment.ipv4)}
    observer = (str(host) for host in (subnet.hosts() if subnet else ()) if str(host) not in taken)
    subscribers += list(islice(observer, 1))
    return RouterPorts(
        wan=interface_name(name, 0),
        wan_addresses=tuple(str(address) for address in router.outside.ipv4),
        lans=tuple(interface_name(name, number) for number in range(1, 1 + len(router.inside))),
        lan_networks=tuple(
            str(topology.segments[attachment.on].ipv4) for attachment in router.inside if attachment.ipv4
        ),
        subscribers=tuple(subscribers),
    )


def impossible_routers(topology: Topology) -> Iterator[tuple[str, str]]:
    """Yield name and reason of each router that lacks the addresses for its own behaviour."""
    for name in topology.routers:
        ports = router_ports(topology, name)
        try:
            behaviour = router_behaviour(topology, name)
            ports.pool(behaviour)
            port_blocks(behaviour, ports)
        except ValueError as error:
            yield name, str(error)


def router_behaviour(topology: Topology, name: str) -> NatBehaviour:
    """Return what a router does where it stands: a NAT that has no IPv4 address there has its IPv6 side alone."""
    router = topology.routers[name]
    only_ipv6 = not router.outside.ipv4 and router.nat.ipv6_filtering is not None
    return ipv6_alone(router.nat) if only_ipv6 else router.nat
