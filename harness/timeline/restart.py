"""The overlay's daemons on a host are started again, as after an update of their program."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.timeline.contract import Deployment, Event, RunningDaemons, Topology
from harness.timeline.daemons import host_names
from harness.timeline.services import ServiceSettings, chosen, end, missing_service, services_of_none

if TYPE_CHECKING:
    from harness.lab.network import Lab


class RestartSettings(ServiceSettings):
    """All daemons of the overlay on a host are asked to end (SIGTERM) and started again at once.

    `service` limits this to the services of these names (`*` stands for anything). The event takes effect when they
    have ended.
    """


class Restart(Event[RestartSettings]):
    """Nothing undoes it."""

    name = "restart"
    settings = RestartSettings
    lifts = frozenset({"kill", "stop"})

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Hosts."""
        return host_names(topology)

    def unmet(self, deployment: Deployment, subject: str, settings: RestartSettings) -> list[str]:
        """See `missing_service`."""
        return missing_service(deployment, subject, settings)

    def unmet_by_all(self, deployments: Sequence[Deployment], subject: str, settings: RestartSettings) -> list[str]:
        """See `services_of_none`."""
        return services_of_none(deployments, subject, settings)

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: RestartSettings) -> float:
        """End them and start them again."""
        del lab
        end(overlay, subject, settings, signal.SIGTERM)
        ended_s = time.time()
        for name, _ in chosen(overlay, subject, settings):
            overlay.restart(name)
        return ended_s
