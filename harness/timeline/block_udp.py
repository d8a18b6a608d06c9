"""A router lets no UDP through, as a network does that is switched to a stricter policy; TCP goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.timeline.contract import Event, NoSettings, RunningDaemons, Topology
from harness.timeline.routers import router_names

if TYPE_CHECKING:
    from harness.lab.network import Lab


class BlockUdpSettings(NoSettings):
    """A router drops all UDP that it would forward; mappings outlive the blockade as far as their lifetime goes."""


class BlockUdp(Event[BlockUdpSettings]):
    """Undone by letting it through again."""

    name = "block_udp"
    settings = BlockUdpSettings

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Routers."""
        return router_names(topology)

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: BlockUdpSettings) -> None:
        """Drop it."""
        del overlay, settings
        lab.routers[subject].block_udp()

    def undo(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: BlockUdpSettings) -> None:
        """Let it through."""
        del overlay, settings
        lab.routers[subject].unblock_udp()
