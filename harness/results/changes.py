"""How much one metric of one subject changed between two runs: cell by cell, with what certainty, and which cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.results.declared import Metric
from harness.results.intervals import middles_of
from harness.results.matching import Sample
from harness.results.metrics import metric_of
from harness.results.ranks import Cell, rank_test
from harness.results.statistics import Floats, holm, middle

ChangeVerdict = Literal[
    "regression",
    "improvement",
    "machine moved",
    "too small to matter",
    "worse, not yet certain",
    "better, not yet certain",
    "no difference found",
    "undecided",
]
CHANGE_VERDICTS: tuple[ChangeVerdict, ...] = ChangeVerdict.__args__  # type: ignore[attr-defined]

# A value of more than so many times its cell's median is an outlier. A median does not see a fifth of them.
OUTLYING = 2.0
_OUTLIERS_MATTER = 0.1
# How the test of a subject is shared between a change everywhere and one in few cells (Bonferroni).
_POOLED = 0.5


@dataclass(frozen=True)
class Rule:
    """When a change counts: `alpha` after correction; `min_effect` as a share of the baseline (of 1 for rates),
    None: each metric's own."""

    alpha: float = 0.05
    min_effect: float | None = None


@dataclass(frozen=True)
class CellChange:
    """One cell's change: `base` and `new` are medians (rates for successes), `change` their difference."""

    cell: str
    base: float
    new: float
    p_worse: float
    p_better: float
    threshold: float

    @property
    def change(self) -> float:
        """New minus base; 0 where both are beyond the deadline."""
        return 0.0 if math.isinf(self.base) and math.isinf(self.new) else self.new - self.base

    @property
    def matters(self) -> bool:
        """Whether it is at least the smallest change worth speaking of."""
        return abs(self.change) > 0 and abs(self.change) >= self.threshold


@dataclass(frozen=True)
class Change:
    """One subject's change in one metric over its cells.

    `base`, `new`, `change` are those of the middle cell (for rates the means over cells), `low` and `high` its 95 %
    interval (NaN: none, or not computed); +-inf: from or to beyond the deadline. `delta` is Cliff's delta within cells,
    +1: every new value is worse. `trials` counts the base's and the new run's.

    `p_worse` and `p_better` are corrected for the cells, `p_outliers` is that of more values far off, `p_corrected` is
    corrected for all that was tested. `least_p` is the smallest that such values could give, `least_p_ever` that so
    many trials could with any values.

    `phase` is the event of a timeline that it is about, empty for what is of whole trials.

    `named` are the cells that changed for certain. `outliers` are the shares of values above twice their cell's median.
    `repeats_needed` is how many a cell would need to find a change of the smallest size that matters, by the spread
    that these data have; None where that is unknown.
    """

    subject: str
    metric: str
    unit: str
    trials: tuple[int, int]
    base: float
    new: float
    change: float
    low: float
    high: float
    delta: float
    p_worse: float
    p_better: float
    p_outliers: float
    least_p: float
    least_p_outliers: float
    least_p_ever: float
    threshold: float
    verdict: ChangeVerdict
    cells: tuple[CellChange, ...]
    outliers: tuple[float, float] = (0.0, 0.0)
    outliers_worse: bool = False
    named: tuple[str, ...] = ()
    p_corrected: float = np.nan
    repeats_needed: int | None = None
    phase: str = ""

    @property
    def what(self) -> str:
        """The metric, with the event that it is about where there is one."""
        return f"{self.metric} {self.phase}".rstrip()

    @property
    def matters(self) -> bool:
        """Whether the typical change, a cell's that changed for certain, or the outliers are worth speaking of."""
        named = any(cell.matters for cell in self.cells if cell.cell in self.named)
        return named or self.outliers_worse or (self.change != 0 and abs(self.change) >= self.threshold)


def change_of(sample: Sample, rule: Rule) -> Change:
    """Return the change in one subject's metric, its verdict still open."""
    metric = metric_of(sample.metric, sample.unit)
    lower_is_better = metric.better == "lower"
    names = sample.names or tuple(cell.name for cell in sample.cells)
    cells = tuple(_cell_change(cell, name, metric, rule) for cell, name in zip(sample.cells, names, strict=True))
    p_worse, p_better, least = _tests(sample.cells, cells, lower_is_better)
    marked = [_outliers(cell) for cell in sample.cells]
    p_outliers, least_outliers = _outlier_test(marked, metric)
    changes = np.array([cell.change for cell in cells])
    proportion = metric.estimator == "proportion"
    typical = float(changes.mean()) if proportion else float(middles_of(changes))
    return Change(
        subject=sample.subject,
        metric=sample.metric,
        unit=sample.unit,
        trials=sample.trials,
        base=_over_cells([cell.base for cell in cells], proportion),
        new=_over_cells([cell.new for cell in cells], proportion),
        change=typical,
        low=math.nan,
        high=math.nan,
        delta=(1.0 if lower_is_better else -1.0) * _cliff(sample.cells),
        p_worse=p_worse,
        p_better=p_better,
        p_outliers=p_outliers,
        least_p=least,
        least_p_outliers=least_outliers,
        least_p_ever=_least_ever(sample.cells),
        threshold=_over_cells([cell.threshold for cell in cells], proportion),
        verdict="no difference found",
        cells=cells,
        outliers=_outlier_shares(marked),
        phase=sample.phase,
    )


def _over_cells(values: Sequence[float], proportion: bool) -> float:
    return float(np.mean(values)) if proportion else middle(np.asarray(values, dtype=np.float64))


def _cell_change(cell: Cell, name: str, metric: Metric, rule: Rule) -> CellChange:
    base, new = cell.middles
    if metric.estimator == "proportion":
        base, new = (float(cell.side(new=side).mean()) for side in (False, True))
    worse, better = cell.alone.higher, cell.alone.lower
    if metric.better != "lower":
        worse, better = better, worse
    return CellChange(name, base, new, worse, better, threshold_of(metric, base, rule))


def threshold_of(metric: Metric, base: float, rule: Rule) -> float:
    """Return the smallest change of such a baseline that is worth speaking of, in the metric's unit."""
    share = metric.min_effect if rule.min_effect is None else rule.min_effect
    scale = 1.0 if metric.estimator == "proportion" else abs(base) if np.isfinite(base) else 0.0
    return max(share * scale, metric.min_absolute)


def _tests(cells: Sequence[Cell], changes: Sequence[CellChange], lower_is_better: bool) -> tuple[float, float, float]:
    """Return P of "worse" and of "better" over all cells, and the smallest p that these values could give."""
    pooled = cells[0].alone if len(cells) == 1 else rank_test(cells)
    worse, better = (pooled.higher, pooled.lower) if lower_is_better else (pooled.lower, pooled.higher)
    least = pooled.least_higher if lower_is_better else pooled.least_lower
    if len(cells) == 1:
        return worse, better, least
    p_worse = min(worse / _POOLED, _smallest(cells, changes, "p_worse") / (1 - _POOLED), 1.0)
    p_better = min(better / _POOLED, _smallest(cells, changes, "p_better") / (1 - _POOLED), 1.0)
    return p_worse, p_better, min(1.0, least / _POOLED)


def _outlier_test(marked: Sequence[Cell], metric: Metric) -> tuple[float, float]:
    """Return P of "more values are far off" and its smallest possible value, for metrics that should be low alone."""
    if metric.estimator == "proportion" or metric.better != "lower" or not any(cell.values.any() for cell in marked):
        return 1.0, 1.0
    test = rank_test(marked)
    base, new = _outlier_shares(marked)
    return (test.higher if new - base >= _OUTLIERS_MATTER else 1.0), test.least_higher


def _least_ever(cells: Sequence[Cell]) -> float:
    """Return the smallest p that so many trials can give: the runs fully separated in every cell."""
    log = 0.0
    for cell in cells:
        n, m = (len(set(cell.trials[cell.new == new].tolist())) for new in (False, True))
        log -= math.log(math.comb(n + m, m))
    return math.exp(log)


def _smallest(cells: Sequence[Cell], changes: Sequence[CellChange], which: str) -> float:
    """Return P that no cell changed, from each cell's own (Simes 1986), over those that can show it (Tarone)."""
    useful = [change for cell, change in zip(cells, changes, strict=True) if np.ptp(_finite(cell)) > 0]
    ps: list[float] = sorted(getattr(change, which) for change in useful)
    return min((len(ps) * p / rank for rank, p in enumerate(ps, 1)), default=1.0)


def _finite(cell: Cell) -> Floats:
    return np.where(np.isfinite(cell.values), cell.values, 1e12)


def _outliers(cell: Cell) -> Cell:
    bound = OUTLYING * middle(cell.values)  # of both runs together: neither is the norm
    return Cell(cell.name, (cell.values > bound).astype(np.float64), cell.trials, cell.pairs, cell.new)


def _outlier_shares(marked: Sequence[Cell]) -> tuple[float, float]:
    base, new = (np.concatenate([cell.side(new=new) for cell in marked]) for new in (False, True))
    return float(base.mean()), float(new.mean())


def _cliff(cells: Sequence[Cell]) -> float:
    """Return Cliff's delta within cells, pooled: share of (base, new) pairs where new is higher, minus lower."""
    signs, count = 0.0, 0
    for cell in cells:
        base, new = cell.side(new=False), cell.side(new=True)
        with np.errstate(invalid="ignore"):
            difference = np.nan_to_num(new[None, :] - base[:, None], nan=0.0)
        signs += float(np.sign(difference).sum())
        count += difference.size
    return signs / count if count else 0.0


def name_cells(change: Change, alpha: float, *, worse: bool) -> tuple[str, ...]:
    """Return the cells of a changed subject that changed for certain in that direction (Holm within the subject)."""
    ps = holm([cell.p_worse if worse else cell.p_better for cell in change.cells])
    return tuple(cell.cell for cell, p in zip(change.cells, ps, strict=True) if p < alpha and cell.matters)
