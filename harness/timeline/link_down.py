"""A cable is pulled, or a radio loses its cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.timeline.cables import node_names, set_interfaces
from harness.timeline.contract import Event, NoSettings, RunningDaemons, Topology

if TYPE_CHECKING:
    from harness.lab.network import Lab


class LinkDownSettings(NoSettings):
    """The interfaces of a host, or the outside of a router, go down: programs see it, and packets are lost."""


class LinkDown(Event[LinkDownSettings]):
    """An outage, undone by setting interfaces up with the routes that were there before."""

    name = "link_down"
    settings = LinkDownSettings

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Return the hosts and routers."""
        return node_names(topology)

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: LinkDownSettings) -> float:
        """Set the interfaces down."""
        del overlay, settings
        return set_interfaces(lab, subject, "down")

    def undo(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: LinkDownSettings) -> float:
        """Set the interfaces up, with their routes."""
        del overlay, settings
        return set_interfaces(lab, subject, "up")
