"""A router that stops forwarding UDP, as when a network switches to a stricter policy; TCP goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.timeline.contract import Event, NoSettings, RunningDaemons, Topology
from harness.timeline.layers import Layers
from harness.timeline.routers import router_names

if TYPE_CHECKING:
    from harness.lab.network import Lab


class BlockUdpSettings(NoSettings):
    """A router drops all UDP that it would forward. Mappings outlive the blockade if their lifetime is long enough."""


class BlockUdp(Event[BlockUdpSettings]):
    """A blockade of UDP, undone by letting it through again."""

    name = "block_udp"
    settings = BlockUdpSettings

    def __init__(self) -> None:
        self._layers: Layers[bool] = Layers()

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Return the routers."""
        return router_names(topology)

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: BlockUdpSettings) -> None:
        """Drop all forwarded UDP."""
        del overlay
        blocked = self._layers.top(lab, subject) is not None
        self._layers.put(lab, subject, settings, blocked)
        if not blocked:
            lab.routers[subject].block_udp()

    def undo(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: BlockUdpSettings) -> None:
        """Let UDP through again, once no blockade is left."""
        del overlay
        before = self._layers.take(lab, subject, settings)
        if before is not None and not before.state:
            lab.routers[subject].unblock_udp()
