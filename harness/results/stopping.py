"""When a cell has been repeated often enough: its interval is narrow, or the cap is reached; which is recorded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from harness.results.cells import CellKey, cell_key, cell_name
from harness.results.metrics import metric_of
from harness.results.record import COUNTED
from harness.results.statistics import FEWEST_FOR_BOOTSTRAP, Estimate, median, proportion


@dataclass(frozen=True)
class StopRule:
    """A cell is done when the 95 % interval of `metric` reaches at most `half_width` to either side: a share of the
    estimate for medians, an absolute share for success rates. Never before `at_least` runs."""

    metric: str
    half_width: float
    at_least: int


@dataclass(frozen=True)
class Reached:
    """How far a cell got; `half_width` is the worst of its directions, None where there is no interval yet."""

    cell: str
    n: int
    half_width: float | None
    reason: Literal["narrow enough", "cap"]


class Stopping:
    """Knows from the records so far which cells are done."""

    def __init__(self, rule: StopRule) -> None:
        self.rule = rule
        self._values: dict[CellKey, dict[tuple[Any, Any], list[float]]] = {}

    def update(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Takes all records of the run so far, in place of what it knew."""
        censored = metric_of(self.rule.metric).estimator == "censored median"
        self._values = {}
        for record in records:
            if record["metric"] != self.rule.metric or record["outcome"] not in COUNTED:
                continue
            value = math.inf if record["value"] is None and censored else record["value"]
            if value is not None:
                directions = self._values.setdefault(cell_key(record), {})
                directions.setdefault((record["src"], record["dst"]), []).append(float(value))

    def enough(self, cell: CellKey) -> bool:
        """Whether this cell needs no further repeat."""
        width = self._half_width(cell)
        return width is not None and width <= self.rule.half_width

    def reached(self, cells: Iterable[CellKey]) -> list[dict[str, Any]]:
        """How far these cells got, for the manifest."""
        found = []
        for cell in sorted(set(cells)):
            n = min((len(values) for values in self._values.get(cell, {}).values()), default=0)
            reason: Literal["narrow enough", "cap"] = "narrow enough" if self.enough(cell) else "cap"
            found.append(asdict(Reached(cell_name(cell), n, self._half_width(cell), reason)))
        return found

    def _half_width(self, cell: CellKey) -> float | None:
        directions = self._values.get(cell)
        if not directions:
            return None
        widths = [self._width_of(values) for values in directions.values()]
        return None if None in widths else max(width for width in widths if width is not None)

    def _width_of(self, values: list[float]) -> float | None:
        if len(values) < self.rule.at_least:
            return None
        if metric_of(self.rule.metric).estimator == "proportion":
            return _width(proportion(round(sum(values)), len(values)))
        if len(values) < FEWEST_FOR_BOOTSTRAP:
            return None
        estimate = median(values)
        width = _width(estimate)
        return None if width is None or not estimate.value else width / abs(estimate.value)


def _width(estimate: Estimate) -> float | None:
    width = (estimate.high - estimate.low) / 2
    return width if math.isfinite(width) else None
