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
from harness.results.statistics import holm, middle, simes

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

_OUTLIERS_MATTER = 0.1
# How the test of a subject is shared between a change everywhere and one in few cells (Bonferroni).
POOLED = 0.5


@dataclass(frozen=True)
class Rule:
    """When a change counts: `alpha`; `min_effect` as a share of the baseline (of 1 for rates), None: each metric's."""

    alpha: float = 0.05
    min_effect: float | None = None


def _difference(base: float, new: float) -> float:
    return 0.0 if math.isinf(base) and math.isinf(new) else new - base


def _matters(change: float, threshold: float) -> bool:
    return change != 0 and reaches(change, threshold)


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
        return _difference(self.base, self.new)

    @property
    def matters(self) -> bool:
        """Whether it is at least the smallest change worth speaking of."""
        return _matters(self.change, self.threshold)


def reaches(change: float, threshold: float) -> bool:
    """Tell whether a change is as large as that; 0.9 - 1.0 is a tenth, whatever floating point makes of it."""
    return abs(change) >= threshold or math.isclose(abs(change), threshold, rel_tol=1e-9)


@dataclass(frozen=True)
class Change:
    """One subject's change in one metric over its cells.

    `cells` has each pair of members by itself, on each path, where trials have several. `base`, `new`, `change` are
    those of the middle one (for rates the means over all), `low` and `high` its 95 %
    interval (NaN: none, or not computed); +-inf: from or to beyond the deadline. `delta` is Cliff's delta within cells,
    +1: every new value is worse. `trials` counts the base's and the new run's.

    `p_worse` and `p_better` are corrected for the cells, `p_outliers` is that of more values far off, `p_corrected` is
    corrected for all that was tested. `least_p` is the smallest that such values could give, `least_p_ever` that so
    many trials could with any values. `could_matter`: whether any dealing of these values to the two runs would be a
    change worth speaking of.

    `phase` is the event of a timeline that it is about, empty for what is of whole trials.
    `named` are the cells that changed for certain. `outliers` are the shares of values above twice their cell's median;
    `outliers_worse`: more of them is what is certain; `typical_worse`: a change of the typical value for the worse is
    certain and matters, whatever the outliers are.
    `findable` is the smallest change that so many trials find with a power of 90 %, by their noise (inf: none), and
    `repeats_needed` how many a cell needs for one of twice what matters; None: unknown, or not open.
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
    could_matter: bool
    threshold: float
    verdict: ChangeVerdict
    cells: tuple[CellChange, ...]
    outliers: tuple[float, float] = (0.0, 0.0)
    outliers_worse: bool = False
    typical_worse: bool = False
    named: tuple[str, ...] = ()
    p_corrected: float = np.nan
    repeats_needed: int | None = None
    findable: float | None = None
    phase: str = ""

    @property
    def what(self) -> str:
        """The metric, with the event that it is about where there is one."""
        return f"{self.metric} {self.phase}".rstrip()

    def goes(self, size: float, *, worse: bool) -> bool:
        """Tell whether a change of that size is for the worse, or for the better."""
        lower_is_better = metric_of(self.metric, self.unit).better == "lower"
        return size != 0 and (size > 0) == (lower_is_better == worse)

    def matters_for(self, *, worse: bool) -> bool:
        """Tell whether the typical change, a named cell's, or the outliers matter in that direction."""
        told = [(cell.change, cell.threshold) for cell in self.cells if cell.cell in self.named]
        sizes = [(self.change, self.threshold), *told]
        large = any(self.goes(size, worse=worse) and reaches(size, threshold) for size, threshold in sizes)
        return large or (worse and self.outliers_worse)


def change_of(sample: Sample, rule: Rule) -> Change:
    """Return the change in one subject's metric, its verdict still open."""
    metric = metric_of(sample.metric, sample.unit)
    lower_is_better = metric.better == "lower"
    parts = sample.parts
    names = sample.names or tuple(part.name for part in parts)
    cells = tuple(_cell_change(part, name, metric, rule) for part, name in zip(parts, names, strict=True))
    p_worse, p_better, least = _tests(sample, cells, lower_is_better)
    marked = [cell.outlying for cell in sample.cells]
    p_outliers, least_outliers = _outlier_test(marked, metric)
    # What never came in either run has not changed.
    changes = np.nan_to_num([cell.change for cell in cells], nan=0.0, posinf=np.inf, neginf=-np.inf)
    proportion = metric.estimator == "proportion"
    seen = [cell.rates for cell in sample.cells] if proportion else [(cell.base, cell.new) for cell in cells]
    bases, news = [base for base, _ in seen], [new for _, new in seen]
    typical = float(np.subtract(news, bases).mean()) if proportion else float(middles_of(changes))
    return Change(
        subject=sample.subject,
        metric=sample.metric,
        unit=sample.unit,
        trials=sample.trials,
        base=_over_cells(bases, proportion),
        new=_over_cells(news, proportion),
        change=typical,
        low=math.nan,
        high=math.nan,
        delta=(1.0 if lower_is_better else -1.0) * _cliffs_delta(parts),
        p_worse=p_worse,
        p_better=p_better,
        p_outliers=p_outliers,
        least_p=least,
        least_p_outliers=least_outliers,
        least_p_ever=_least_ever(sample.cells),
        could_matter=any(_could_matter(cell, metric, rule) for cell in sample.cells),
        threshold=_over_cells([cell.threshold for cell in cells], proportion),
        verdict="no difference found",
        cells=cells,
        outliers=outlier_shares(marked),
        phase=sample.phase,
    )


def _over_cells(values: Sequence[float], proportion: bool) -> float:
    return float(np.mean(values)) if proportion else middle(np.asarray(values, dtype=np.float64))


def _cliffs_delta(parts: Sequence[Cell]) -> float:
    """Return Cliff's delta within cells, pooled: share of (base, new) pairs where new is higher, minus lower."""
    count = sum(part.sides[0].size * part.sides[1].size for part in parts)
    return sum(part.signs for part in parts) / count if count else 0.0


def _cell_change(cell: Cell, name: str, metric: Metric, rule: Rule) -> CellChange:
    base, new = cell.rates if metric.estimator == "proportion" else cell.middles
    worse, better = cell.alone.higher, cell.alone.lower
    if metric.better != "lower":
        worse, better = better, worse
    return CellChange(name, base, new, worse, better, threshold_of(metric, base, rule))


def threshold_of(metric: Metric, base: float, rule: Rule) -> float:
    """Return the smallest change of such a baseline that is worth speaking of, in the metric's unit."""
    share = metric.min_effect if rule.min_effect is None else rule.min_effect
    scale = 1.0 if metric.estimator == "proportion" else abs(base) if math.isfinite(base) else 0.0
    return max(share * scale, metric.min_absolute)


def _tests(sample: Sample, changes: Sequence[CellChange], lower_is_better: bool) -> tuple[float, float, float]:
    """Return P of "worse" and of "better" over all cells, and the smallest p that these values could give."""
    cells, parts = sample.cells, sample.parts
    pooled = cells[0].alone if len(cells) == 1 else rank_test(cells)
    worse, better = (pooled.higher, pooled.lower) if lower_is_better else (pooled.lower, pooled.higher)
    least = pooled.least_higher if lower_is_better else pooled.least_lower
    if len(parts) == 1:
        return worse, better, least
    p_worse = min(worse / POOLED, _smallest(parts, changes, "p_worse") / (1 - POOLED), 1.0)
    p_better = min(better / POOLED, _smallest(parts, changes, "p_better") / (1 - POOLED), 1.0)
    varied = [part.alone for part in parts if part.varies]
    own = [one.least_higher if lower_is_better else one.least_lower for one in varied]
    return p_worse, p_better, min(least / POOLED, simes(own) / (1 - POOLED), 1.0)


def _outlier_test(marked: Sequence[Cell], metric: Metric) -> tuple[float, float]:
    """Return P of "more values are far off" and its smallest possible value, for metrics that should be low alone."""
    if metric.estimator == "proportion" or metric.better != "lower" or not any(any(cell.sums) for cell in marked):
        return 1.0, 1.0
    test = rank_test(marked)
    base, new = outlier_shares(marked)
    return (test.higher if new > base and reaches(new - base, _OUTLIERS_MATTER) else 1.0), test.least_higher


def _least_ever(cells: Sequence[Cell]) -> float:
    """Return the smallest p that so many trials can give: the runs fully separated in every cell."""
    log = 0.0
    for cell in cells:
        log -= math.log(math.comb(sum(cell.counts), cell.counts[1]))
    return math.exp(log)


def _could_matter(cell: Cell, metric: Metric, rule: Rule) -> bool:
    """Tell whether a part of a cell, the cell's trials dealt in any other way, could differ by as much as matters.

    What no cell reaches, the middle one does not either.
    """
    if rule.min_effect is not None and rule.min_effect >= 1:
        return True  # the threshold then grows faster than the baseline, and no two ways stand for all
    ways = cell.furthest_rates if metric.estimator == "proportion" else cell.furthest_middles
    return any(_matters(_difference(base, new), threshold_of(metric, base, rule)) for base, new in ways)


def _smallest(cells: Sequence[Cell], changes: Sequence[CellChange], which: str) -> float:
    """Return P that no cell changed, from each cell's own (Simes 1986), over those that can show it (Tarone)."""
    return simes([getattr(one, which) for cell, one in zip(cells, changes, strict=True) if cell.varies])


def outlier_shares(marked: Sequence[Cell]) -> tuple[float, float]:
    """Return the shares of the base's and of the new run's values that are outliers, from cells of `Cell.outlying`."""
    base, new = (
        sum(cell.sums[new] for cell in marked) / sum(cell.sides[new].size for cell in marked) for new in (False, True)
    )
    return base, new


def name_cells(change: Change, alpha: float, *, worse: bool) -> tuple[str, ...]:
    """Return the cells of a changed subject that changed for certain in that direction (Holm within the subject)."""
    ps = holm([cell.p_worse if worse else cell.p_better for cell in change.cells])
    certain = [cell for cell, p in zip(change.cells, ps, strict=True) if p < alpha and cell.matters]
    return tuple(cell.cell for cell in certain if change.goes(cell.change, worse=worse))
