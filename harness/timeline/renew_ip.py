"""A host gets another address where it is, as from a DHCP server that has forgotten it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from harness.model.nodes import Host
from harness.timeline.contract import Event, EventSettings, RunningDaemons, Topology
from harness.timeline.layers import Layers
from harness.timeline.move import Move
from harness.timeline.placing import is_ours, placed_on, problems_of_place, with_host

if TYPE_CHECKING:
    from harness.lab.network import Lab


class RenewIpSettings(EventSettings):
    """A host gets other addresses on its segment, those given or free ones; the former addresses are gone.

    To change a router's external addresses, use `change_address`.
    """

    addresses: tuple[IPv4Address | IPv6Address, ...] = ()


class RenewIp(Event[RenewIpSettings]):
    """Undone by the former addresses."""

    name = "renew_ip"
    settings = RenewIpSettings
    replaces = True

    def __init__(self) -> None:
        self._layers: Layers[Host] = Layers()

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Return the hosts of a topology of ours."""
        return tuple(topology.hosts) if is_ours(topology) else ()

    def problems(self, topology: Topology, subject: str, settings: RenewIpSettings) -> list[str]:
        """Want addresses that fit the segment and that no host has."""
        host = topology.hosts[subject]
        return problems_of_place(topology, subject, host.on, settings.addresses, host.via)

    def applied(self, topology: Topology, subject: str, settings: RenewIpSettings) -> Topology:
        """Describe the host with its new addresses."""
        host = topology.hosts[subject]
        return with_host(topology, subject, placed_on(topology, subject, host.on, settings.addresses, host.via))

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: RenewIpSettings) -> float:
        """Give it other addresses."""
        del overlay
        from harness.lab.plugging import place_host  # noqa: PLC0415  # a lab's, see `harness.timeline.contract`

        host = lab.topology.hosts[subject]
        self._layers.put(lab, subject, settings, host)
        return place_host(lab, subject, placed_on(lab.topology, subject, host.on, settings.addresses, host.via))

    def undo(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: RenewIpSettings) -> float | None:
        """Give it the addresses that it had; one that is plugged in elsewhere meanwhile has them when it comes back."""
        del overlay
        from harness.lab.plugging import place_host  # noqa: PLC0415

        before, host = self._layers.take(lab, subject, settings), lab.topology.hosts[subject]
        if before is None:
            return None
        former = before.state
        if former.on != host.on:
            Move.moved.amend(lab, subject, lambda left: _with_addresses_of(former, left))
            return None
        return place_host(lab, subject, _with_addresses_of(former, host))


def _with_addresses_of(former: Host, host: Host) -> Host:
    """Describe a host with the addresses that it had before, if it is where it had them."""
    return host.model_copy(update={"addresses": former.addresses}) if host.on == former.on else host
