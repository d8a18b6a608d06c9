"""The overlay's daemons on a host are stopped as a service manager stops them, and may say goodbye."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from harness.timeline.contract import RunningDaemons
from harness.timeline.services import ServiceEvent, ServiceSettings, end

if TYPE_CHECKING:
    from harness.lab.network import Lab


class StopSettings(ServiceSettings):
    """All daemons of the overlay on a host are asked to end (SIGTERM). With `for_s` they are started again after that.

    `service` limits this to the services of these names (`*` stands for anything). A daemon that does not end within 5
    s is killed.
    """


class Stop(ServiceEvent[StopSettings]):
    """A server is shut down for maintenance, a member logs out."""

    name = "stop"
    settings = StopSettings

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: StopSettings) -> None:
        """Ask them to end, then wait until they are gone."""
        del lab
        end(overlay, subject, settings, signal.SIGTERM)
