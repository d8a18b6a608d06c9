"""Whether an overlay can run a trial at all: its mode, and the IP versions of the underlay. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.model.family import Family
from harness.model.nat_words import PortMappingProtocol
from harness.model.trial import Trial
from harness.model.words import Mode
from harness.overlay.contract import EndpointKind, HasKinds, HasUnderlays, MapsPorts, NeedsHelpers, Overlay


def underlays_of(overlay: Overlay) -> frozenset[Family]:
    """Return the IP versions over which an overlay can run; IPv4 alone where it does not say."""
    return overlay.underlays if isinstance(overlay, HasUnderlays) else frozenset({"ipv4"})


def helpers_of(overlay: Overlay, mode: Mode) -> int:
    """Return how many public nodes an overlay needs in a mode besides the server; 0 where it does not say."""
    return overlay.helpers(mode) if isinstance(overlay, NeedsHelpers) else 0


def kinds_of(overlay: Overlay) -> frozenset[EndpointKind]:
    """Return the kinds of endpoints that an overlay offers; interfaces alone where it does not say."""
    return overlay.kinds if isinstance(overlay, HasKinds) else frozenset({"interface"})


def asks_by(overlay: Overlay, options: Mapping[str, Any]) -> frozenset[PortMappingProtocol]:
    """Return by which protocols an overlay asks routers for ports with these options; none where it does not say."""
    return overlay.asks_by(options) if isinstance(overlay, MapsPorts) else frozenset()


def why_unsupported(trial: Trial, overlay: Overlay) -> str | None:
    """Return why the trial's outcome is `unsupported`, in words; None where the overlay can run it."""
    if trial.mode not in overlay.modes:
        return f"{trial.overlay} has no mode {trial.mode}"
    topology, can = trial.topology, underlays_of(overlay)
    server = [topology.server] if overlay.needs_server and topology.server is not None else []
    for node in (*topology.members, *server):
        if can.isdisjoint(has := topology.families(node)):
            return f"{trial.overlay} runs over {_words(can)}, and {node} has {_words(has)} alone"
    return None


def _words(families: frozenset[Family] | tuple[Family, ...]) -> str:
    return " and ".join({"ipv4": "IPv4", "ipv6": "IPv6"}[family] for family in sorted(families))
