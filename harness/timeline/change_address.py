"""A router that gets another external address, as after a reconnection to its provider; its mappings are gone."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from pydantic import Field

from harness.model.topology import Topology
from harness.timeline.contract import Event, EventSettings, RunningDaemons
from harness.timeline.layers import Layers
from harness.timeline.placing import problems_of_addresses, problems_of_routers
from harness.timeline.routers import router_names

if TYPE_CHECKING:
    from harness.lab.network import Lab


class ChangeAddressSettings(EventSettings):
    """A router gets other external IPv4 addresses. All mappings and sessions are lost, now and when this is undone.

    Give as many addresses as the router's pool needs, beginning with the router's own new address.
    """

    addresses: tuple[IPv4Address, ...] = Field(min_length=1)


class ChangeAddress(Event[ChangeAddressSettings]):
    """A change of external addresses, undone by the former ones; the lab's topology holds the present ones."""

    name = "change_address"
    settings = ChangeAddressSettings
    replaces = True

    def __init__(self) -> None:
        self._layers: Layers[tuple[IPv4Address, ...]] = Layers()

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Return the routers that have an IPv4 address outside."""
        return tuple(name for name in router_names(topology) if topology.routers[name].outside.ipv4)

    def problems(self, topology: Topology, subject: str, settings: ChangeAddressSettings) -> list[str]:
        """Return addresses that are taken or not on the segment, and routes that lead to the old ones."""
        router = topology.routers[subject]
        found = list(problems_of_addresses(topology, router.outside.on, settings.addresses))
        if len(settings.addresses) < router.nat.pool_size:
            found.append(f"{subject} needs {router.nat.pool_size} addresses for its pool")
        if not router.nat.translates:
            found.append(f"{subject} does not translate: others would go on routing to its former address")
        return found or problems_of_routers(_readdressed(topology, subject, settings.addresses))

    def applied(self, topology: Topology, subject: str, settings: ChangeAddressSettings) -> Topology:
        """Describe the router with its new addresses."""
        return _readdressed(topology, subject, settings.addresses)

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: ChangeAddressSettings) -> None:
        """Give the router the new addresses."""
        del overlay
        self._layers.put(lab, subject, settings, lab.topology.routers[subject].outside.ipv4)
        _readdress(lab, subject, settings.addresses)

    def undo(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: ChangeAddressSettings) -> None:
        """Give the router its former addresses."""
        del overlay
        before = self._layers.take(lab, subject, settings)
        if before is not None:
            _readdress(lab, subject, before.state)


def _readdress(lab: Lab, router: str, addresses: tuple[IPv4Address, ...]) -> None:
    from harness.lab.plugging import admit_subscribers, becoming, set_routes  # noqa: PLC0415  # a lab's, see `harness.timeline.contract`

    before, after = lab.topology, _readdressed(lab.topology, router, addresses)
    outside = before.routers[router].outside
    admit_subscribers(lab, after)
    running = lab.routers[router]
    # It opens when all is done: nobody may be heard over what is only half so, nor ask who has the new address.
    with running.shut():
        # Verdicts ask the topology which addresses are a member's own.
        with becoming(lab, after):
            running.change_address(tuple(map(str, addresses)), before.prefix_length(outside, outside.ipv4[0]))
            # With its last old address went every route that led over it.
            set_routes(lab, before, router)
        lab.settle_neighbours()


def _readdressed(topology: Topology, router: str, addresses: tuple[IPv4Address, ...]) -> Topology:
    outside = topology.routers[router].outside
    changed = outside.model_copy(update={"addresses": (*addresses, *outside.ipv6)})
    described = topology.routers[router].model_copy(update={"outside": changed})
    return topology.model_copy(update={"routers": {**topology.routers, router: described}})
