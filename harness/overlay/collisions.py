"""Addresses that an overlay and the underlay share: a host may then answer itself, and nothing is measured."""

from __future__ import annotations

from collections.abc import Iterator

from harness.model.family import Address
from harness.model.topology import Topology
from harness.overlay.contract import Deployment, HasNetwork, Overlay


def collisions(deployment: Deployment, topology: Topology) -> list[str]:
    """Return each endpoint's address that the underlay has too, and where, in words; none over the bare underlay."""
    if deployment.open_underlay:
        return []
    taken: dict[Address, str] = {}
    for name, address in _underlay(topology):
        taken.setdefault(address, name)
    return [
        f"{member}'s overlay address {endpoint.address} is {taken[endpoint.address]}'s address in the underlay"
        for member, endpoint in deployment.endpoints.items()
        if endpoint.address in taken
    ]


def in_range(overlay: Overlay, topology: Topology) -> list[str]:
    """Return each node with an underlay address of the network that an overlay gives its members, in words."""
    if not isinstance(overlay, HasNetwork):
        return []
    return [
        f"{name} has {address} in the underlay"
        for name, address in _underlay(topology)
        if address.version == overlay.network.version and address in overlay.network
    ]


def too_many(overlay: Overlay, topology: Topology) -> str | None:
    """Return how many nodes want an address of the network that has fewer, in words; None where all get one."""
    nodes = {*topology.members, *(() if topology.server is None else (topology.server,))}
    if not isinstance(overlay, HasNetwork) or len(nodes) <= (free := overlay.network.num_addresses - 2):
        return None
    return f"{overlay.network} has addresses for {free} nodes, and there are {len(nodes)}"


def _underlay(topology: Topology) -> Iterator[tuple[str, Address]]:
    for name, host in topology.hosts.items():
        for address in host.addresses:
            yield name, address
    for name, router in topology.routers.items():
        for attachment in (router.outside, *router.inside):
            for address in attachment.addresses:
                yield name, address
