"""A member leaves: its daemons say goodbye, and its cable is out."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from harness.timeline.cables import set_interfaces
from harness.timeline.contract import Event, EventSettings, NoSettings, RunningDaemons, Topology
from harness.timeline.daemons import daemons_on
from harness.timeline.services import ServiceSettings, end

if TYPE_CHECKING:
    from harness.lab.network import Lab


class RemoveMemberSettings(NoSettings):
    """A member's daemons are asked to end (SIGTERM), then its interfaces go down. With `for_s` it comes back."""


class RemoveMember(Event[RemoveMemberSettings]):
    """Undone by starting its daemons again, once its interfaces are up."""

    name = "remove_member"
    settings = RemoveMemberSettings

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Members."""
        return topology.members

    def contends(self, settings: RemoveMemberSettings, other: Event[Any], others: EventSettings) -> bool:
        """Count whatever else ends its daemons."""
        del settings
        return other.name == self.name or (isinstance(others, ServiceSettings) and other.can_be_undone)

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: RemoveMemberSettings) -> None:
        """Let it say goodbye, and pull the cable."""
        del settings
        end(overlay, subject, ServiceSettings(), signal.SIGTERM)
        set_interfaces(lab, subject, "down")

    def undo(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: RemoveMemberSettings) -> None:
        """Plug it in, and start its daemons."""
        del settings
        set_interfaces(lab, subject, "up")
        for name, daemon in daemons_on(overlay, subject):
            if not daemon.alive:
                overlay.restart(name)
