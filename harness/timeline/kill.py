"""Death of the overlay's daemons on a host; where that is undone, they are started again, as after a crash."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from harness.timeline.contract import RunningDaemons
from harness.timeline.services import ServiceEvent, ServiceSettings, end

if TYPE_CHECKING:
    from harness.lab.network import Lab


class KillSettings(ServiceSettings):
    """All daemons of the overlay on a host are killed (SIGKILL). With `for_s` they are started again after that time.

    `service` limits this to the services of these names (`*` stands for anything). If an overlay runs nothing on the
    host, it goes on as if nothing had happened; showing that is the point.
    """


class Kill(ServiceEvent[KillSettings]):
    """A server, a relay or a member dies."""

    name = "kill"
    settings = KillSettings

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: KillSettings) -> None:
        """Kill them all, then wait until they are gone."""
        del lab
        end(overlay, subject, settings, signal.SIGKILL)
