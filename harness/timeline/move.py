"""A host's cable is plugged in elsewhere: a phone leaves the Wi-Fi for its carrier's network, and comes home again."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, ClassVar

from harness.model.document import did_you_mean
from harness.model.nodes import Host
from harness.timeline.contract import Event, EventSettings, RunningDaemons, Topology
from harness.timeline.layers import Layers
from harness.timeline.placing import is_ours, placed_on, problems_of_place, with_host

if TYPE_CHECKING:
    from harness.lab.network import Lab


class MoveSettings(EventSettings):
    """A host moves to another segment: `into` names the segment, or a router whose first inside segment it is.

    The host gets the `addresses` given, or free ones of that segment. It sends everything by `via`; without `via`, by
    the router that `into` names or else the first router with an inside there. The event takes effect when the cable is
    pulled; plugging it in elsewhere takes the lab a moment. Open connections end unless the program or the overlay
    prevents that. A host that others know by its address cannot survive this, which is a result.
    """

    into: str
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    via: str | None = None


class Move(Event[MoveSettings]):
    """Undone by plugging it in where it was."""

    name = "move"
    settings = MoveSettings
    replaces = True

    # Of all, as the end of another event may fall into a move and concern the place that it will lead back to.
    moved: ClassVar[Layers[Host]] = Layers()

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Return the hosts of a topology of ours."""
        return tuple(topology.hosts) if is_ours(topology) else ()

    def problems(self, topology: Topology, subject: str, settings: MoveSettings) -> list[str]:
        """Want a place that is there, another one, and fits the addresses."""
        segment, via = _where(topology, settings)
        if segment is None:
            known = (*topology.segments, *topology.routers)
            return [f"there is no segment or router {settings.into}{did_you_mean(settings.into, known)}"]
        if segment == topology.hosts[subject].on:
            return [f"{subject} is on {segment} already"]
        return problems_of_place(topology, subject, segment, settings.addresses, via)

    def applied(self, topology: Topology, subject: str, settings: MoveSettings) -> Topology:
        """Describe the host in its new place."""
        segment, via = _where(topology, settings)
        assert segment is not None  # problems() says so
        return with_host(topology, subject, placed_on(topology, subject, segment, settings.addresses, via))

    def contends(self, settings: MoveSettings, other: Event[Any], others: EventSettings) -> bool:
        """Count what gives it other addresses where it is, too."""
        del settings, others
        return other.name in {"move", "renew_ip"}

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: MoveSettings) -> float:
        """Plug it in there."""
        del overlay
        from harness.lab.plugging import place_host  # noqa: PLC0415  # a lab's, see `harness.timeline.contract`

        segment, via = _where(lab.topology, settings)
        assert segment is not None  # problems() says so
        self.moved.put(lab, subject, settings, lab.topology.hosts[subject])
        return place_host(lab, subject, placed_on(lab.topology, subject, segment, settings.addresses, via))

    def undo(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: MoveSettings) -> float | None:
        """Plug it in where it was, with the addresses that it had."""
        del overlay
        from harness.lab.plugging import place_host  # noqa: PLC0415

        before = self.moved.take(lab, subject, settings)
        return None if before is None else place_host(lab, subject, before.state)


def _where(topology: Topology, settings: MoveSettings) -> tuple[str | None, str | None]:
    """Find the segment that is meant, and the router to send everything by."""
    if settings.into in topology.segments:
        inside = [name for name, router in topology.routers.items() if router.inside_on(settings.into) is not None]
        return settings.into, settings.via or next(iter(inside), None)
    if settings.into in topology.routers:
        return topology.routers[settings.into].inside[0].on, settings.via or settings.into
    return None, None
