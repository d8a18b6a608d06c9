"""What share of a population's pairs is direct how soon, from what each simulated world took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.report.population_plots import condition_name
from harness.report.tables import NOTHING, TextTable
from harness.results.agreement import CellAgreement, CellCounts, Weighted, condition_key, of_condition, weighted

_LOOKS_S = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)


def looks_s(deadline_s: float) -> list[float]:
    """Return after how many seconds is looked: the deadline at last."""
    return [*(each for each in _LOOKS_S if each < deadline_s), deadline_s]


def direct_by(
    described: Mapping[str, Any], cells: Sequence[CellAgreement], within: Mapping[float, CellCounts]
) -> TextTable:
    """Return the engine's rate at each look, a row a condition; none without simulated pairs.

    Args:
        within: counts of each cell by the seconds of the look.
    """
    rows = []
    for condition in described["conditions"]:
        params = condition["params"]
        key, own = condition_key(params), of_condition(cells, params)
        found = [
            weighted(
                [replace(cell, simulated=of.get((key, (cell.first, cell.second, cell.shared_layers)))) for cell in own]
            )
            for of in within.values()
        ]
        if any(each is not None for each in found):
            rows.append((condition_name(params), *map(with_interval, found)))
    header = ("technique", *(f"within {seconds:g} s" for seconds in within))
    note = (
        "Direct pairs in the engine (%): both ends reported a direct path within that time after the last member's "
        "start, and probes at the end of the world went directly. Cells are weighted by their shares; in brackets "
        "the 95 % interval. A world of two members ends once they are direct, so that a run with a shorter deadline "
        "has the same columns up to it."
    )
    return TextTable("How soon pairs are direct", header, tuple(rows), frozenset(range(1, len(header))), note)


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share in percent."""
    return NOTHING if value is None else f"{100 * value:.{digits}f}"


def with_interval(found: Weighted | None) -> str:
    """Return a rate in percent with its interval."""
    if found is None:
        return NOTHING
    rate, low, high = (f"{100 * each:.1f}" for each in (found.rate, found.low, found.high))
    return f"{rate} [{low}, {high}]"
