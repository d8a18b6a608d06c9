"""No overlay: the baseline that every campaign runs in the same session."""

from __future__ import annotations

from collections.abc import Sequence

from harness.model.scenario import Mode
from harness.model.trial import Trial
from harness.overlay.contract import Deployment, Endpoint, Layer, Requirement
from overlays.addressing import check_options


class Underlay:
    """Plain IP between the members, with the routers' NATs and filters stood aside: what the network itself can do."""

    name = "underlay"
    modes: frozenset[Mode] = frozenset({"underlay"})
    layer: Layer = "L3"
    needs_server = False

    def requirements(self) -> Sequence[Requirement]:
        """Nothing: the kernel is the baseline."""
        return ()

    def render(self, trial: Trial) -> Deployment:
        """Only endpoints: the members' own addresses.

        Raises:
            ValueError: an option; the baseline takes none.
        """
        check_options(trial)
        return Deployment(
            endpoints={name: Endpoint(address=trial.topology.address(name)) for name in trial.topology.members},
            open_underlay=True,
        )
