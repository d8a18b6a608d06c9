"""A host, or a router, sends everything by another router of its segment: a line has failed, its spare takes over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.timeline.contract import Event, EventSettings, RunningDaemons, Topology
from harness.timeline.layers import Layers
from harness.timeline.placing import with_host

if TYPE_CHECKING:
    from harness.lab.network import Lab


class SwitchUplinkSettings(EventSettings):
    """The default route of a host, or of a router's outside, is switched to another router of its segment: `via`.

    Its own addresses stay, but from outside it is seen with those of the other router.
    """

    via: str


class SwitchUplink(Event[SwitchUplinkSettings]):
    """Undone by the former route."""

    name = "switch_uplink"
    settings = SwitchUplinkSettings
    replaces = True

    def __init__(self) -> None:
        self._layers: Layers[str] = Layers()

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Return hosts and routers that have a second router to go to."""
        return tuple(name for name in (*topology.hosts, *topology.routers) if _others(topology, name))

    def problems(self, topology: Topology, subject: str, settings: SwitchUplinkSettings) -> list[str]:
        """Want a router that is there and another one."""
        others = _others(topology, subject)
        if settings.via in others:
            return []
        return [f"{subject} cannot use {settings.via} (it can use {', '.join(others)})"]

    def applied(self, topology: Topology, subject: str, settings: SwitchUplinkSettings) -> Topology:
        """Describe the host or router behind the other one."""
        if subject in topology.hosts:
            return with_host(topology, subject, topology.hosts[subject].model_copy(update={"via": settings.via}))
        outside = topology.routers[subject].outside.model_copy(update={"via": settings.via})
        described = topology.routers[subject].model_copy(update={"outside": outside})
        return topology.model_copy(update={"routers": {**topology.routers, subject: described}})

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: SwitchUplinkSettings) -> None:
        """Change the route."""
        del overlay
        from harness.lab.plugging import send_by  # noqa: PLC0415  # a lab's, see `harness.timeline.contract`

        before = _via(lab.topology, subject)
        assert before is not None  # whoever has another router has one
        self._layers.put(lab, subject, settings, before)
        send_by(lab, subject, settings.via)

    def undo(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: SwitchUplinkSettings) -> None:
        """Change it back."""
        del overlay
        from harness.lab.plugging import send_by  # noqa: PLC0415

        before = self._layers.take(lab, subject, settings)
        if before is not None:
            send_by(lab, subject, before.state)


def _via(topology: Topology, name: str) -> str | None:
    return topology.hosts[name].via if name in topology.hosts else topology.routers[name].outside.via


def _others(topology: Topology, name: str) -> list[str]:
    """Find the routers that somebody does not use, though they are inside on its segment."""
    used, on = _via(topology, name), topology.attachments()[name][0].on
    if used is None:
        return []
    inside = [other for other, router in topology.routers.items() if router.inside_on(on) is not None]
    return [other for other in inside if other not in {used, name}]
