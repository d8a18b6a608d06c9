"""What the products that our adapters deploy would reach in a population, by the technique that each declares."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from harness.errors import MissingPrerequisite
from harness.model.nat import ALIASES, PortMappingProtocol, parse_nat
from harness.model.words import SEEKING_DIRECT
from harness.nat.oracle import ALL_PROTOCOLS, Technique
from harness.overlay.contract import HasUnderlays, Overlay, Traverses
from harness.overlay.registry import load_overlay, overlay_names
from harness.overlay.support import asks_by
from harness.results.counts import FEWEST_RUNS, Count, with_probability
from harness.simulation.algebra import CellExpectation, Level, expected_cells, expected_pair, pair_success
from harness.simulation.algebra import level_of as engine_level
from harness.simulation.contract import SimulatedEngine, engines
from harness.simulation.effect import nats_in_effect
from harness.simulation.plan import Condition
from harness.simulation.population import Population

# Of a product whose pace we do not know: the one round that the oracle's formula supposes.
ONE_TRY = (256, (256,))


@dataclass(frozen=True)
class Declared:
    """The technique of a product, the protocols by which it asks routers for ports, and whether it runs over IPv6."""

    technique: str
    asks_by: frozenset[PortMappingProtocol]
    ipv6: bool


def declared_levels(population: Population, emulated: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """Return a row for each overlay that says how it traverses NATs, in the mode that prefers direct paths.

    Where a lab's run has cells of it, the mean of what the declared technique leads one to expect of those cells stands
    next to the mean of what the lab saw.
    """
    found = []
    for name in overlay_names():
        try:
            overlay = load_overlay(name)
        except MissingPrerequisite:
            continue
        level = level_of(overlay)
        if level is not None:
            engine = next((each for each in engines().values() if name in each.overlays), None)
            condition = Condition(level.technique, bool(level.asks_by), level.ipv6, 2)
            asks = level.asks_by
            waiting = _waiting(engine, population, asks)
            can = waiting(population.deadline_s)
            cells = expected_cells(population, condition, can)
            found.append(
                {
                    "overlay": name,
                    "technique": level.technique,
                    "port_mapping": bool(level.asks_by),
                    "asks_by": sorted(level.asks_by),
                    "ipv6": level.ipv6,
                    "pairs": pair_success(cells),
                    **_against_lab(condition, _in_its_time(name, emulated, population.deadline_s), waiting),
                    **_with_lab(level, population, cells, _cells_of(name, emulated)),
                }
            )
    return found


def _waiting(
    engine: SimulatedEngine | None, population: Population, asks: frozenset[PortMappingProtocol]
) -> Callable[[float], Level]:
    """Return what a product can do by so many seconds; of most the pace is not known."""

    @cache
    def level(deadline_s: float) -> Level:
        if engine is None:
            return Level(*ONE_TRY, asks)
        return engine_level(engine, population.model_copy(update={"deadline_s": deadline_s}), asks)

    return level


def _in_its_time(name: str, emulated: Sequence[Mapping[str, Any]], deadline_s: float) -> list[Mapping[str, Any]]:
    """Return an overlay's cells with the counts of the lab's own deadline; they had the population's alone before."""
    of_before = ({"deadline_s": deadline_s} | dict(cell) for cell in emulated if _is_of(name, cell))
    return [cell | cell.get("waited", {}) for cell in of_before]


def _against_lab(
    condition: Condition, emulated: Sequence[Mapping[str, Any]], waiting: Callable[[float], Level]
) -> dict[str, Any]:
    """Hold what is expected against what was seen, both within the time for which the lab waited itself.

    Within a shorter one a product whose first paths come later would differ, since its technique is declared without a
    pace.
    """
    cells, expected = [], []
    for cell in emulated:
        said = _expected(cell["nats"], condition, waiting(cell["deadline_s"])) if cell["runs"] else None
        # Of NATs without an alias the label does not tell all that they do.
        if said is not None:
            cells.append(cell)
            expected.append(said)
    if not cells:
        return {}
    seen = [Count(cell["successes"], cell["runs"]) for cell in cells]
    return {
        "emulated_within_s": cells[0]["deadline_s"],
        "emulated_expected": math.fsum(expected) / len(cells),
        "emulated": math.fsum(count.rate for count in seen) / len(cells),
        "emulated_runs": sum(count.runs for count in seen),
        "differs": [
            f"{' x '.join(each or 'public' for each in cell['nats'])} ({count.successes}/{count.runs})"
            for cell, probability, count in zip(cells, expected, seen, strict=True)
            if with_probability(count, probability) == "differ"
        ],
    }


def _with_lab(
    level: Declared, population: Population, cells: Sequence[CellExpectation], emulated: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """Return the rate with the lab's own in the cells in which it differs by enough runs, and what stands behind that.

    A few runs, or ones that agree, know less than what is declared: one trial makes 0 or 1 of any probability.
    `lab_covers` is the share of pairs in cells that the lab has, `lab_taken` in those of which its rate is taken, and
    `lab_runs` are the runs of these.
    """
    lab = {tuple(cell["nats"]): Count(cell["successes"], cell["runs"]) for cell in emulated}
    if not lab:
        return {}
    rate, covered, replaced, taken = [], [], [], {}
    for each in cells:
        first, second = population.access[each.cell.first], population.access[each.cell.second]
        nats = nats_in_effect(first, second, asks_by=level.asks_by, ipv6=level.ipv6)
        seen = None if each.cell.shared_layers else lab.get(nats)
        probability = each.probability
        if seen is not None:
            covered.append(each.share)
            if with_probability(seen, probability) == "differ" and seen.runs >= FEWEST_RUNS:
                replaced.append(each.share)
                # Several cells may be one of the lab's.
                taken[nats] = seen.runs
                probability = seen.rate
        rate.append(each.share * probability)
    return {
        "pairs_with_lab": math.fsum(rate),
        "lab_covers": math.fsum(covered),
        "lab_taken": math.fsum(replaced),
        "lab_runs": sum(taken.values()),
    }


def _cells_of(name: str, emulated: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [cell for cell in emulated if _is_of(name, cell) and cell["runs"]]


def _is_of(name: str, cell: Mapping[str, Any]) -> bool:
    return (cell["overlay"], cell["mode"]) == (name, "mesh")


def _expected(nats: Sequence[str], condition: Condition, level: Level) -> float | None:
    words = [label.split("+") if label else [] for label in nats]
    if not set(itertools.chain(*words)) <= ALIASES.keys():
        return None
    a, b = ([parse_nat(word) for word in stack] for stack in words)
    return expected_pair(a, b, 0, condition, level).probability


def level_of(overlay: Overlay) -> Declared | None:
    """Return what an overlay declares of the mode that prefers direct paths, as its adapter deploys it unasked."""
    mode = next((mode for mode in SEEKING_DIRECT if mode in overlay.modes), None)
    technique = overlay.technique(mode) if mode is not None and isinstance(overlay, Traverses) else None
    if technique is None:
        return None
    ipv6 = isinstance(overlay, HasUnderlays) and "ipv6" in overlay.underlays
    if technique == Technique.PORT_MAPPING:
        return Declared(Technique.PEER_REFLEXIVE.value, ALL_PROTOCOLS, ipv6)
    return Declared(Technique(technique).value, asks_by(overlay, {}), ipv6)
