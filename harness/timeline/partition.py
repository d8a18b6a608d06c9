"""The network falls apart: some nodes cannot reach some others any more, while both reach the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from harness.model.document import did_you_mean
from harness.timeline.contract import Event, EventSettings, RunningDaemons, Topology
from harness.timeline.daemons import host_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.lab.network import Lab
    from harness.model.family import Address


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class PartitionSettings(EventSettings):
    """Packets between a host and those of `away_from` vanish, both ways; the host reaches everybody else as before.

    Hosts are told by their addresses and those of the routers in front of them, whichever they have when it happens.
    """

    away_from: Annotated[
        tuple[str, ...], BeforeValidator(_as_tuple, json_schema_input_type=str | tuple[str, ...]), Field(min_length=1)
    ]


class Partition(Event[PartitionSettings]):
    """Undone by joining the parts."""

    name = "partition"
    settings = PartitionSettings

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Return the hosts of a topology of ours."""
        return host_names(topology)

    def problems(self, topology: Topology, subject: str, settings: PartitionSettings) -> list[str]:
        """Want others that are there and have other addresses."""
        found = [
            f"there is no host {name}{did_you_mean(name, topology.hosts)}"
            for name in settings.away_from
            if name not in topology.hosts
        ]
        if subject in settings.away_from:
            found.append(f"{subject} cannot be parted from itself")
        known = [name for name in settings.away_from if name in topology.hosts and name != subject]
        shared = [name for name in known if set(_standing_for(topology, name)) & set(_standing_for(topology, subject))]
        found += [f"{subject} and {name} share a router: they have an address in common" for name in shared]
        return found

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: PartitionSettings) -> None:
        """Part them."""
        del overlay
        from harness.lab import partition  # noqa: PLC0415  # a lab's, see `harness.timeline.contract`

        one, other = _addresses(lab.topology, [subject]), _addresses(lab.topology, settings.away_from)
        partition.separate(_name(subject, settings), lab.watched_ports(), one, other)

    def undo(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: PartitionSettings) -> None:
        """Join them."""
        del lab, overlay
        from harness.lab import partition  # noqa: PLC0415

        partition.join(_name(subject, settings))


def _name(subject: str, settings: PartitionSettings) -> str:
    """Make what tells a partition from others that last at the same time."""
    return "_".join((subject, *settings.away_from))


def _addresses(topology: Topology, hosts: Iterable[str]) -> set[Address]:
    found: set[Address] = set()
    for host in hosts:
        found.update(topology.hosts[host].addresses)
        for router in _standing_for(topology, host):
            found.update(topology.routers[router].outside.addresses)
    return found


def _standing_for(topology: Topology, host: str) -> list[str]:
    """Find the routers whose addresses a host has outside: those that translate."""
    return [name for name in topology.routers_of(host) if topology.routers[name].nat.translates]
