"""A router that stops forwarding UDP, as when a network switches to a stricter policy; TCP goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.timeline.contract import Event, NoSettings, RunningDaemons, Topology
from harness.timeline.routers import router_names

if TYPE_CHECKING:
    from harness.lab.network import Lab


class BlockUdpSettings(NoSettings):
    """A router drops all UDP that it would forward; mappings outlive the blockade as far as their lifetime goes."""


class BlockUdp(Event[BlockUdpSettings]):
    """A blockade of UDP, undone by letting it through again."""

    name = "block_udp"
    settings = BlockUdpSettings

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Return the routers."""
        return router_names(topology)

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: BlockUdpSettings) -> None:
        """Drop all forwarded UDP."""
        del overlay, settings
        lab.routers[subject].block_udp()

    def undo(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: BlockUdpSettings) -> None:
        """Let UDP through again."""
        del overlay, settings
        lab.routers[subject].unblock_udp()
