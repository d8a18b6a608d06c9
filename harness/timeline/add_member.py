"""A member joins a running overlay: until then it is off, its daemons not started and its cable out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.timeline.cables import set_interfaces
from harness.timeline.contract import Event, NoSettings, RunningDaemons, Topology

if TYPE_CHECKING:
    from harness.lab.network import Lab


class AddMemberSettings(NoSettings):
    """A member that was absent is switched on: its interfaces come up, and its daemons start as in a deployment.

    Probes that run before the timeline measure only the pairs of the other members. The event takes effect when the
    first daemon is started; the time from then until the member is ready is the overlay's own.
    """


class AddMember(Event[AddMemberSettings]):
    """Nothing undoes it; `remove_member` lets it go again."""

    name = "add_member"
    settings = AddMemberSettings
    subject_is_absent = True

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Return members of a group of three or more: two of them are a pair that is measured from the beginning."""
        return topology.members if len(topology.members) > 2 else ()

    def prepare(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: AddMemberSettings) -> None:
        """Leave it out."""
        del settings
        overlay.leave_out(subject)
        set_interfaces(lab, subject, "down")

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: AddMemberSettings) -> None:
        """Switch it on."""
        del settings
        set_interfaces(lab, subject, "up")
        overlay.join(subject)
