"""What the events that change a host's place or addresses have in common. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address

from harness.model.family import Address, family_of
from harness.model.nodes import Host, families_of
from harness.model.topology import Topology
from harness.topology.wiring import impossible_routers

_FIRST = 250


def is_ours(topology: Topology) -> bool:
    """Tell whether the lab knows its segments: those of a Mininet class are unknown."""
    return topology.mininet is None


def free_addresses(topology: Topology, host: str, segment: str) -> tuple[Address, ...]:
    """Return addresses on a segment that no host has, of the IP versions of those that the host has now.

    Counted down from a subnet's 250th: where a DHCP server's range would be.
    """
    attached = [attachment for of_node in topology.attachments().values() for attachment in of_node]
    taken = {address for attachment in attached for address in attachment.addresses}
    found: list[Address] = []
    for address in topology.hosts[host].addresses:
        subnet = topology.segments[segment].of(family_of(address))
        if subnet is None:
            continue
        candidates = (subnet[number] for number in range(min(_FIRST, subnet.num_addresses - 2), 0, -1))
        found += [one for one in candidates if one not in taken and one not in found][:1]
    return tuple(found)


def placed_on(
    topology: Topology,
    host: str,
    segment: str,
    addresses: Sequence[IPv4Address | IPv6Address],
    via: str | None,
) -> Host:
    """Describe the host as it is on a segment: with these addresses, or free ones, behind this router."""
    chosen = tuple(addresses) or free_addresses(topology, host, segment)
    # The cable stays the host's own.
    return topology.hosts[host].model_copy(update={"on": segment, "addresses": chosen, "via": via})


def with_host(topology: Topology, name: str, host: Host) -> Topology:
    """Describe a topology in which one host is another."""
    return topology.model_copy(update={"hosts": {**topology.hosts, name: host}})


def problems_of_addresses(
    topology: Topology, segment: str, addresses: Sequence[IPv4Address | IPv6Address]
) -> Iterator[str]:
    """Say why nobody on a segment can get these addresses, which are to be one node's."""
    for number, address in enumerate(addresses):
        subnet = topology.segments[segment].of(family_of(address))
        if subnet is None or address not in subnet:
            yield f"{address} is not in {subnet}, the subnet of {segment}"
        elif subnet.version == 4 and address in {subnet.network_address, subnet.broadcast_address}:
            kind = "network's own" if address == subnet.network_address else "broadcast"
            yield f"{address} is the {kind} address of {subnet}: no node can have it"
        if address in addresses[:number]:
            yield f"{address} is listed twice"
        takers = [name for name, attached in topology.attachments().items() for p in attached if address in p.addresses]
        if takers:
            yield f"{address} is {takers[0]}'s"


def problems_of_place(
    topology: Topology, host: str, segment: str, addresses: Sequence[IPv4Address | IPv6Address], via: str | None
) -> list[str]:
    """Say why a host cannot be on a segment with these addresses (none: free ones) behind this router."""
    found = list(problems_of_addresses(topology, segment, addresses))
    if not addresses and not free_addresses(topology, host, segment):
        wanted = " or ".join(families_of(topology.hosts[host]))
        found.append(f"{segment} has no free {wanted} address for {host}")
    if via is not None and (via not in topology.routers or topology.routers[via].inside_on(segment) is None):
        found.append(f"no router {via} has an inside on {segment}")
    return found or problems_of_routers(with_host(topology, host, placed_on(topology, host, segment, addresses, via)))


def problems_of_routers(topology: Topology) -> list[str]:
    """Say which routers lack what they need in a topology, such as a block of ports for each host inside."""
    return [f"router {name}: {reason}" for name, reason in impossible_routers(topology)]
