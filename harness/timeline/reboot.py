"""A router reboots: all its mappings and sessions are gone, its rules and addresses are as before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.timeline.contract import Event, NoSettings, RunningDaemons, Topology
from harness.timeline.routers import router_names

if TYPE_CHECKING:
    from harness.lab.network import Lab


class RebootSettings(NoSettings):
    """A router loses all mappings and sessions; how long it would be away is not modelled."""


class Reboot(Event[RebootSettings]):
    """Nothing undoes it: who had a mapping has to make another."""

    name = "reboot"
    settings = RebootSettings

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Routers."""
        return router_names(topology)

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: RebootSettings) -> None:
        """Load its rules again, with empty tables."""
        del overlay, settings
        lab.routers[subject].reboot()
