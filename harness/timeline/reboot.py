"""A router's reboot: all its mappings and sessions are gone, its rules and addresses are as before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.timeline.contract import Event, NoSettings, RunningDaemons, Topology
from harness.timeline.routers import router_names

if TYPE_CHECKING:
    from harness.lab.network import Lab


class RebootSettings(NoSettings):
    """A router loses all mappings and sessions. The time for which a rebooting router is away is not modelled."""


class Reboot(Event[RebootSettings]):
    """The loss of all mappings, which nothing undoes: hosts have to make new ones."""

    name = "reboot"
    settings = RebootSettings

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Return the routers."""
        return router_names(topology)

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: RebootSettings) -> None:
        """Load the router's rules again, with empty tables."""
        del overlay, settings
        lab.routers[subject].reboot()
