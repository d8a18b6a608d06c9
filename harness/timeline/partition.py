"""The network falls apart: some nodes cannot reach some others any more, while both reach the rest."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from harness.model.document import did_you_mean
from harness.nat.prefixes import translated
from harness.timeline.contract import Event, EventSettings, RunningDaemons, Topology
from harness.timeline.daemons import as_tuple, host_names
from harness.timeline.layers import Layers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from harness.lab.network import Lab
    from harness.model.family import Address


class PartitionSettings(EventSettings):
    """Packets between a host and those of `away_from` vanish, both ways; the host reaches everybody else as before.

    Hosts are recognised by their addresses, and by the addresses of routers that stand in front of no other host. A
    host that shares a router with others is cut off alone. If others are behind the routers on both sides, the event is
    refused, because between the two no packet tells whose it is. A partition follows its hosts: they stay parted when
    one of them moves, or its address changes or its router's; what would put them behind one router is refused.
    """

    away_from: Annotated[
        tuple[str, ...], BeforeValidator(as_tuple, json_schema_input_type=str | tuple[str, ...]), Field(min_length=1)
    ]


class Partition(Event[PartitionSettings]):
    """Undone by joining the parts."""

    name = "partition"
    settings = PartitionSettings

    def __init__(self) -> None:
        self._layers: Layers[bool] = Layers()

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
        mine = _with_others(topology, [subject])
        theirs = _with_others(topology, known)
        if mine and theirs and not shared:
            found.append(
                f"others are behind {mine[0]} and behind {theirs[0]}: between the two, no packet tells whose it is"
            )
        return found

    def ended_by(self, topology: Topology, subject: str, settings: PartitionSettings) -> list[str]:
        """Say why they could not stay parted."""
        return self.problems(topology, subject, settings)

    def contends(self, settings: PartitionSettings, other: Event[Any], others: EventSettings) -> bool:
        """Count the same parts alone."""
        del other
        return isinstance(others, PartitionSettings) and set(settings.away_from) == set(others.away_from)

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: PartitionSettings) -> None:
        """Part them."""
        del overlay
        from harness.lab import partition  # noqa: PLC0415  # a lab's, see `harness.timeline.contract`

        name = _name(subject, settings)
        parted = self._layers.top(lab, name) is not None
        self._layers.put(lab, name, settings, parted)
        if parted:
            return

        def separate(topologies: Sequence[Topology]) -> None:
            one, other = (
                {address for topology in topologies for address in _addresses(topology, side)}
                for side in ([subject], settings.away_from)
            )
            partition.separate(name, lab.watched_ports(), one, other)

        separate([lab.topology])
        lab.followers[f"partition {name}"] = separate

    def undo(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: PartitionSettings) -> None:
        """Join them, once nothing parts them any more."""
        del overlay
        from harness.lab import partition  # noqa: PLC0415

        name = _name(subject, settings)
        before = self._layers.take(lab, name, settings)
        if before is not None and not before.state:
            del lab.followers[f"partition {name}"]
            partition.join(name)


def _name(subject: str, settings: PartitionSettings) -> str:
    """Make what tells a partition from others that last at the same time."""
    return "_".join((subject, *settings.away_from))


def _addresses(topology: Topology, hosts: Iterable[str]) -> set[Address]:
    """Find the addresses that are these hosts' alone: what is behind a shared router is met by its own, before it."""
    group = list(hosts)
    shared = _with_others(topology, group)
    found: set[Address] = set()
    for host in group:
        found.update(topology.hosts[host].addresses)
        found.update(_exchanged(topology, host))
        for router in _standing_for(topology, host):
            if router not in shared:
                found.update(topology.routers[router].outside.addresses)
    return found


def _exchanged(topology: Topology, host: str) -> Iterator[Address]:
    """Yield the addresses that a host has outside routers that exchange its IPv6 prefix: nobody shares them."""
    prefixes = [
        prefix for name in topology.routers_of(host) if (prefix := topology.routers[name].nat.nptv6) is not None
    ]
    for address in topology.hosts[host].ipv6:
        for prefix in prefixes:
            address = IPv6Address(translated(str(address), prefix))  # noqa: PLW2901  # one router after the other
            yield address


def _with_others(topology: Topology, group: Sequence[str]) -> list[str]:
    """Find the routers that stand for hosts of a group and for others as well."""
    of_others = {router for host in topology.hosts if host not in group for router in _standing_for(topology, host)}
    standing = dict.fromkeys(router for host in group for router in _standing_for(topology, host))
    return [router for router in standing if router in of_others]


def _standing_for(topology: Topology, host: str) -> list[str]:
    """Find the routers whose addresses a host has outside: those that translate."""
    return [name for name in topology.routers_of(host) if topology.routers[name].nat.translates]
