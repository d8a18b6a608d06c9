"""Death of the overlay's daemons on a host; where that is undone, they are started again, as after a crash."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from harness.timeline.contract import Event, NoSettings, RunningDaemons, Topology
from harness.timeline.daemons import daemons_on, host_names

if TYPE_CHECKING:
    from harness.lab.network import Lab

_GONE_S = 5.0


class KillSettings(NoSettings):
    """All daemons of the overlay on a host are killed (SIGKILL). With `for_s` they are started again after that time.

    An overlay that runs nothing there goes on as if nothing had happened, which is what is to be shown.
    """


class Kill(Event[KillSettings]):
    """The crash of a server, a relay or a member."""

    name = "kill"
    settings = KillSettings

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Return the hosts."""
        return host_names(topology)

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: KillSettings) -> None:
        """Kill all daemons, then wait until they are gone."""
        del lab, settings
        dying = [daemon for _, daemon in daemons_on(overlay, subject)]
        for daemon in dying:
            daemon.send(signal.SIGKILL)
        for daemon in dying:
            daemon.wait(_GONE_S)

    def undo(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: KillSettings) -> None:
        """Start the daemons again, in the order of the deployment."""
        del lab, settings
        for name, daemon in list(daemons_on(overlay, subject)):
            if not daemon.alive:
                overlay.restart(name)
