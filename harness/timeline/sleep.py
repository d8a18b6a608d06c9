"""A host that sleeps, as a closed laptop does: its daemons stand still and nothing reaches it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from harness.timeline.cables import set_interfaces
from harness.timeline.contract import Event, NoSettings, RunningDaemons, Topology
from harness.timeline.daemons import daemons_on, host_names

if TYPE_CHECKING:
    from harness.lab.network import Lab


class SleepSettings(NoSettings):
    """The overlay's daemons on a host are stopped (SIGSTOP) and its interfaces go down; the clocks keep running.

    What `path` and `continuity` would send from the host meanwhile is not sent, and counts as unanswered: for a pair it
    makes no difference which of the two sleeps. The TCP connection of `continuity`, and other probes, go on. The host's
    kernel does not sleep: its timers run on, so that TCP sends again what was not acknowledged, and connections may
    time out.
    """


class Sleep(Event[SleepSettings]):
    """A suspended machine whose clock goes on: daemons find out afterwards that time has passed."""

    name = "sleep"
    settings = SleepSettings

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Return the hosts."""
        return host_names(topology)

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: SleepSettings) -> float:
        """Stop the daemons, then take the interfaces down."""
        del settings
        # First of all: what is sent to daemons that stand still would wait for them, and be answered after waking.
        lab.asleep[subject] += 1
        for _, daemon in daemons_on(overlay, subject):
            daemon.send(signal.SIGSTOP)
        return set_interfaces(lab, subject, "down")

    def undo(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: SleepSettings) -> None:
        """Set the interfaces up before the daemons continue, as a machine does that wakes up."""
        del settings
        set_interfaces(lab, subject, "up")
        for _, daemon in daemons_on(overlay, subject):
            daemon.send(signal.SIGCONT)
        lab.asleep[subject] -= 1
