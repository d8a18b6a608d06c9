"""When a cell has been repeated often enough: its interval is narrow, or the cap is reached; which is recorded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from harness.results.cells import CellKey, cell_key, cell_name
from harness.results.clusters import estimate
from harness.results.judging import Part, parts_of, values_of
from harness.results.metrics import metric_of
from harness.results.statistics import FEWEST_FOR_INTERVAL, Estimate


@dataclass(frozen=True)
class StopRule:
    """A cell is done when the 95 % interval of `metric` reaches at most `half_width` to either side: a share of the
    estimate for medians, an absolute share for success rates. Never before `at_least` runs. Pairs of members are the
    unit and runs the cluster, as everywhere; what tables and bounds tell apart (paths, phases, and of rates the pairs
    of NATs) must each be narrow enough."""

    metric: str
    half_width: float
    at_least: int


@dataclass(frozen=True)
class Reached:
    """How far a cell got; `n` counts runs, `half_width` is that of its widest part, None where one has none yet."""

    cell: str
    n: int
    half_width: float | None
    reason: Literal["narrow enough", "cap"]


class Stopping:
    """The cells that are done, as far as the records so far tell."""

    def __init__(self, rule: StopRule) -> None:
        self.rule = rule
        self._values: dict[CellKey, dict[Part, tuple[list[float], list[str]]]] = {}

    def update(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Take all records of the run so far, in place of what was known."""
        metric = self.rule.metric
        by_cell: dict[CellKey, list[Mapping[str, Any]]] = {}
        for record in records:
            by_cell.setdefault(cell_key(record), []).append(record)
        self._values = {
            cell: {part: values_of(metric, of_part) for part, of_part in parts_of(metric, rows).items()}
            for cell, rows in by_cell.items()
        }

    def enough(self, cell: CellKey) -> bool:
        """Tell whether this cell needs no further repeat."""
        width = self._half_width(cell)
        return width is not None and width <= self.rule.half_width

    def reached(self, cells: Iterable[CellKey]) -> list[dict[str, Any]]:
        """Return how far these cells got, for the manifest."""
        found = []
        for cell in sorted(set(cells)):
            reason: Literal["narrow enough", "cap"] = "narrow enough" if self.enough(cell) else "cap"
            found.append(asdict(Reached(cell_name(cell), self._runs(cell), self._half_width(cell), reason)))
        return found

    def _runs(self, cell: CellKey) -> int:
        return len({trial for _, trials in self._values.get(cell, {}).values() for trial in trials})

    def _half_width(self, cell: CellKey) -> float | None:
        """Return that of the cell's widest part; None where any has none."""
        if self._runs(cell) < max(1, self.rule.at_least):
            return None
        widths = [self._of_part(*sample) for sample in self._values[cell].values()]
        known = [width for width in widths if width is not None]
        return max(known) if len(known) == len(widths) else None

    def _of_part(self, values: list[float], trials: list[str]) -> float | None:
        runs = len(set(trials))
        proportion = metric_of(self.rule.metric).estimator == "proportion"
        if not proportion and runs < FEWEST_FOR_INTERVAL:
            return None
        found = estimate(self.rule.metric, values, trials)
        width = _width(found)
        if proportion or width is None:
            return width
        return width / abs(found.value) if found.value else None


def _width(estimate: Estimate) -> float | None:
    width = (estimate.high - estimate.low) / 2
    return width if math.isfinite(width) else None
