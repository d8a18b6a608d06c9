"""What the products that our adapters deploy would reach in a population, by the technique that each declares."""

from __future__ import annotations

from typing import Any

from harness.errors import MissingPrerequisite
from harness.model.scenario import Mode
from harness.nat.oracle import Technique
from harness.overlay.contract import AsksForPorts, HasUnderlays, Overlay, Traverses
from harness.overlay.registry import load_overlay, overlay_names
from harness.simulation.algebra import expected_cells, pair_success
from harness.simulation.plan import Condition
from harness.simulation.population import TECHNIQUES, Population

# One try each, as the oracle's formula has it; who goes on is simulated, not declared.
ONE_TRY = (256, 256)
_MODES: tuple[Mode, ...] = ("mesh", "direct")


def declared_levels(population: Population) -> list[dict[str, Any]]:
    """A row for each overlay that says how it traverses NATs, in the mode that prefers direct paths."""
    found = []
    for name in overlay_names():
        try:
            overlay = load_overlay(name)
        except MissingPrerequisite:
            continue
        level = level_of(overlay)
        if level is not None:
            technique, port_mapping, ipv6 = level
            condition = Condition(technique, port_mapping, ipv6, 2)
            found.append(
                {
                    "overlay": name,
                    "technique": technique,
                    "port_mapping": port_mapping,
                    "ipv6": ipv6,
                    "pairs": pair_success(expected_cells(population, condition, ONE_TRY)),
                }
            )
    return found


def level_of(overlay: Overlay) -> tuple[str, bool, bool] | None:
    """The technique that an overlay declares, whether it asks routers for ports, whether it runs over IPv6."""
    mode = next((mode for mode in _MODES if mode in overlay.modes), None)
    technique = overlay.technique(mode) if mode is not None and isinstance(overlay, Traverses) else None
    if technique is None:
        return None
    ipv6 = isinstance(overlay, HasUnderlays) and "ipv6" in overlay.underlays
    if technique == Technique.PORT_MAPPING:
        return Technique.PEER_REFLEXIVE.value, True, ipv6
    assert technique in TECHNIQUES, f"{overlay.name} declares {technique!r}, which is no technique"
    return technique, isinstance(overlay, AsksForPorts), ipv6
