"""A clock that jumps, which no lab can make: refused by name, so that nothing else is taken for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.timeline.contract import Event, EventSettings, RunningDaemons, Topology
from harness.timeline.daemons import host_names

if TYPE_CHECKING:
    from harness.lab.network import Lab

_WHY = (
    "time namespaces (time_namespaces(7)) give CLOCK_MONOTONIC and CLOCK_BOOTTIME an offset that is fixed before their "
    "first process runs, and CLOCK_REALTIME none: no clock of a running daemon can jump without the machine's own"
)


class ClockJumpSettings(EventSettings):
    """A host's clock jumps by `seconds`. Refused: no kernel can do this to one host of a lab (time_namespaces(7))."""

    seconds: float


class ClockJump(Event[ClockJumpSettings]):
    """Known, so that a scenario that asks for it is told why it cannot be had."""

    name = "clock_jump"
    settings = ClockJumpSettings

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Hosts."""
        return host_names(topology)

    def problems(self, topology: Topology, subject: str, settings: ClockJumpSettings) -> list[str]:
        """Refuse it, always."""
        del topology, subject, settings
        return [_WHY]

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: ClockJumpSettings) -> None:
        """Never called: `problems` refuses it when a scenario is checked."""
        raise NotImplementedError(_WHY)
