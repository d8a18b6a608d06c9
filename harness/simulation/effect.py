"""Which NATs are in effect between two hosts, so that cells that differ by name alone meet the same lab. Pure."""

from __future__ import annotations

from collections.abc import Collection

from harness.model.nat import NatBehaviour, PortMappingProtocol
from harness.simulation.population import Access

_OF_IPV6 = ("ipv6_filtering", "nptv6", "nat64")


def nats_in_effect(
    first: Access, second: Access, *, asks_by: Collection[PortMappingProtocol], ipv6: bool
) -> tuple[str, str]:
    """Return the labels of both sides' routers as an IPv4 lab names them, in order; empty for a public host.

    What a router does when nobody asks for it is left out: mapping ports by protocols that are not in `asks_by`, and
    IPv6 where it is off or one of the two hosts has none.
    """
    six = ipv6 and first.ipv6 and second.ipv6
    one, other = (
        "+".join(_in_effect(router, asks_by, six=six).label for router in access.behaviours)
        for access in (first, second)
    )
    return (one, other) if one <= other else (other, one)


def _in_effect(router: NatBehaviour, asks_by: Collection[PortMappingProtocol], *, six: bool) -> NatBehaviour:
    without = set() if six or not router.ipv4 else set(_OF_IPV6)
    if not set(asks_by).intersection(router.port_mapping):
        without.add("port_mapping")
    axes = router.model_dump(exclude_defaults=True)
    return NatBehaviour.model_validate({name: value for name, value in axes.items() if name not in without})
