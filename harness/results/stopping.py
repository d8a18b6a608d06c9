"""When a cell has been repeated often enough: its interval is narrow, or the cap is reached; which is recorded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from harness.results.cells import CellKey, cell_key, cell_name
from harness.results.clusters import estimate
from harness.results.judging import values_of
from harness.results.metrics import metric_of
from harness.results.statistics import FEWEST_FOR_BOOTSTRAP, Estimate


@dataclass(frozen=True)
class StopRule:
    """A cell is done when the 95 % interval of `metric` reaches at most `half_width` to either side: a share of the
    estimate for medians, an absolute share for success rates. Never before `at_least` runs. Pairs of members are the
    unit and runs the cluster, as everywhere."""

    metric: str
    half_width: float
    at_least: int


@dataclass(frozen=True)
class Reached:
    """How far a cell got; `n` counts runs, `half_width` is None where there is no interval yet."""

    cell: str
    n: int
    half_width: float | None
    reason: Literal["narrow enough", "cap"]


class Stopping:
    """The cells that are done, as far as the records so far tell."""

    def __init__(self, rule: StopRule) -> None:
        self.rule = rule
        self._values: dict[CellKey, tuple[list[float], list[str]]] = {}

    def update(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Take all records of the run so far, in place of what was known."""
        by_cell: dict[CellKey, list[Mapping[str, Any]]] = {}
        for record in records:
            by_cell.setdefault(cell_key(record), []).append(record)
        found = {cell: values_of(self.rule.metric, rows) for cell, rows in by_cell.items()}
        self._values = {cell: sample for cell, sample in found.items() if sample[0]}

    def enough(self, cell: CellKey) -> bool:
        """Tell whether this cell needs no further repeat."""
        width = self._half_width(cell)
        return width is not None and width <= self.rule.half_width

    def reached(self, cells: Iterable[CellKey]) -> list[dict[str, Any]]:
        """Return how far these cells got, for the manifest."""
        found = []
        for cell in sorted(set(cells)):
            n = len(set(self._values.get(cell, ([], []))[1]))
            reason: Literal["narrow enough", "cap"] = "narrow enough" if self.enough(cell) else "cap"
            found.append(asdict(Reached(cell_name(cell), n, self._half_width(cell), reason)))
        return found

    def _half_width(self, cell: CellKey) -> float | None:
        values, trials = self._values.get(cell, ([], []))
        runs = len(set(trials))
        if runs < self.rule.at_least:
            return None
        proportion = metric_of(self.rule.metric).estimator == "proportion"
        if not proportion and runs < FEWEST_FOR_BOOTSTRAP:
            return None
        found = estimate(self.rule.metric, values, trials)
        width = _width(found)
        if proportion or width is None:
            return width
        return width / abs(found.value) if found.value else None


def _width(estimate: Estimate) -> float | None:
    width = (estimate.high - estimate.low) / 2
    return width if math.isfinite(width) else None
