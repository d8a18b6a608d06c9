"""Which interface of a router is what: pure, so that `plan` can show the rules that the lab would load."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from harness.model.family import Address
from harness.model.nat import NatBehaviour
from harness.model.nat_ipv6 import ipv6_alone
from harness.model.nodes import Attachment
from harness.model.topology import Topology
from harness.nat.ports import FULL_MTU_BYTES, TRANSLATOR_INTERFACE, RouterPorts, port_blocks
from harness.nat.prefixes import inside_prefix


def interface_name(node: str, number: int) -> str:
    """Return Mininet's name for a node's interface; interface k is attachment k, a router's outside is 0."""
    return f"{node}-eth{number}"


def router_ports(topology: Topology, name: str) -> RouterPorts:
    """Return a router's interfaces, addresses and inside networks as its ruleset needs them.

    Subscribers are all that it sees inside, and the address that the observer of the trial's own check takes there.
    """
    router = topology.routers[name]
    subscribers = list(_subscribers(topology, name))
    subnet = topology.segments[router.inside[0].on].ipv4
    taken = {*subscribers, *(str(address) for attachment in router.inside for address in attachment.ipv4)}
    observer = (str(host) for host in (subnet.hosts() if subnet else ()) if str(host) not in taken)
    subscribers += list(islice(observer, 1))
    inside = tuple(interface_name(name, number) for number in range(1, 1 + len(router.inside)))
    return RouterPorts(
        wan=interface_name(name, 0),
        wan_addresses=tuple(str(address) for address in router.outside.ipv4),
        lans=(*inside, TRANSLATOR_INTERFACE) if router.nat.nat64 else inside,
        lan_networks=tuple(
            str(topology.segments[attachment.on].ipv4) for attachment in router.inside if attachment.ipv4
        ),
        subscribers=tuple(subscribers),
        line_mtu_bytes=line_mtu_bytes(router.outside),
        lan_prefixes=tuple(
            str(topology.segments[attachment.on].ipv6) for attachment in router.inside if attachment.ipv6
        ),
    )


def _subscribers(topology: Topology, name: str) -> Iterator[str]:
    """Yield the IPv4 addresses that a router sees from its inside: also those behind a router there that maps none."""
    inside = {attachment.on for attachment in topology.routers[name].inside}
    for node, attached in topology.attachments().items():
        if node == name:
            continue
        for attachment in attached:
            if attachment.on in inside:
                yield from map(str, attachment.ipv4)
        further = topology.routers.get(node)
        if further is not None and further.outside.on in inside and further.nat.ipv4 and not further.nat.translates:
            yield from _subscribers(topology, node)


def line_mtu_bytes(attachment: Attachment) -> int:
    """Return the longest packet that a node's link carries in both directions."""
    return min(direction.mtu_bytes for direction in attachment.link.ways)


def knows_its_line(topology: Topology, name: str, number: int) -> bool:
    """Tell whether a node takes the MTU of its line for that of its interface: all do but routers that say not."""
    return name not in topology.routers or number > 0 or topology.routers[name].nat.mtu_errors


def announced_mtus(topology: Topology) -> dict[Address, int]:
    """Return, by a node's address, its line's MTU: of those below Ethernet's of which senders are told.

    The line's far end belongs to the provider, whose equipment answers what is too long for it. Ours are the segment's
    other nodes: each knows what it may send there, and a router among them answers for it.
    """
    return {
        address: line_mtu_bytes(attachment)
        for name, attached in topology.attachments().items()
        for number, attachment in enumerate(attached)
        if line_mtu_bytes(attachment) < FULL_MTU_BYTES and knows_its_line(topology, name, number)
        for address in attachment.addresses
    }


def impossible_routers(topology: Topology) -> Iterator[tuple[str, str]]:
    """Yield name and reason of each router that lacks the addresses for its own behaviour."""
    for name in topology.routers:
        ports = router_ports(topology, name)
        try:
            behaviour = router_behaviour(topology, name)
            ports.pool(behaviour)
            port_blocks(behaviour, ports)
            if behaviour.nptv6 is not None:
                inside_prefix(behaviour, ports)
        except ValueError as error:
            yield name, str(error)


def router_behaviour(topology: Topology, name: str) -> NatBehaviour:
    """Return what a router does where it stands: a NAT that has no IPv4 address there has its IPv6 side alone."""
    router = topology.routers[name]
    only_ipv6 = not router.outside.ipv4 and router.nat.ipv6_filtering is not None
    return ipv6_alone(router.nat) if only_ipv6 else router.nat
