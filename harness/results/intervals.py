"""Intervals of changes between two runs, and how many repeats a change would take to be found."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from harness.results.clusters import estimate
from harness.results.matching import Sample
from harness.results.metrics import metric_of
from harness.results.ranks import Cell
from harness.results.statistics import Estimate, Floats

_RESAMPLES = 299
_POWER = 0.9
# From so many cells on these are drawn too: with one trial each, they alone show how much a change varies.
_CELLS_DRAWN = 6


def interval_of_rates(sample: Sample) -> tuple[float, float]:
    """Return the interval of the mean difference over cells, for one cell Newcombe's (variance estimates recovery)."""
    below = above = change = 0.0
    for cell in sample.cells:
        base, new = (_rate(cell, new=side) for side in (False, True))
        change += new.value - base.value
        low, high = newcombe(base, new)
        below += (new.value - base.value - low) ** 2
        above += (high - (new.value - base.value)) ** 2
    count = len(sample.cells)
    return (change - math.sqrt(below)) / count, (change + math.sqrt(above)) / count


def _rate(cell: Cell, *, new: bool) -> Estimate:
    chosen = cell.new == new
    return estimate("connect_success", list(cell.values[chosen]), list(cell.trials[chosen]))


def newcombe(base: Estimate, new: Estimate) -> tuple[float, float]:
    """Return the interval of a difference of two rates from their Wilson intervals (Newcombe 1998, method 10)."""
    low = np.hypot(new.value - new.low, base.high - base.value)
    high = np.hypot(new.high - new.value, base.value - base.low)
    return new.value - base.value - float(low), new.value - base.value + float(high)


def interval_of_medians(sample: Sample) -> tuple[float, float]:
    """Return that of the middle cell's change: percentile bootstrap of whole trials within each cell and run.

    NaN where no cell has two trials a side and there are few cells.
    """
    count = len(sample.cells)
    alone = all(len(set(cell.trials)) <= 2 for cell in sample.cells)
    if alone and count < _CELLS_DRAWN:
        return math.nan, math.nan
    rng = np.random.default_rng(0)
    drawn = np.stack([_drawn(cell, rng) for cell in sample.cells])
    if count >= _CELLS_DRAWN:
        drawn = drawn[rng.integers(count, size=drawn.shape), np.arange(_RESAMPLES)]
    middles = np.sort(middles_of(drawn))
    return float(middles[round(0.025 * (_RESAMPLES - 1))]), float(middles[round(0.975 * (_RESAMPLES - 1))])


def _drawn(cell: Cell, rng: np.random.Generator) -> Floats:
    """Return resampled changes of a cell's median, new minus base."""
    medians = []
    for new in (False, True):
        values = cell.of_trials(new=new)
        picked = np.sort(values[rng.integers(values.size, size=(_RESAMPLES, values.size))], axis=1)
        lower, upper = picked[:, (values.size - 1) // 2], picked[:, values.size // 2]
        medians.append(np.where(np.isinf(upper), upper, (lower + upper) / 2))
    with np.errstate(invalid="ignore"):
        change = medians[1] - medians[0]
    return np.where(np.isnan(change), 0.0, change)


def middles_of(changes: Floats) -> Floats:
    """Return the medians along the first axis; some changes may be from or to beyond the deadline (-inf, inf)."""
    ordered = np.sort(changes, axis=0)
    lower, upper = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    with np.errstate(invalid="ignore"):
        found = (lower + upper) / 2  # of -inf and inf it is NaN: as many got worse as better
    return np.where(np.isnan(found), 0.0, found)


def repeats_for(sample: Sample, base: float, threshold: float, level: float) -> int | None:
    """Return how many repeats a cell needs to find its smallest change that matters with a power of 90 %.

    By the normal approximation of the rank sum, from the spread within cells that these data have (1.4826 times the
    median absolute deviation); at least as many as make the level reachable at all.
    """
    metric = metric_of(sample.metric, sample.unit)
    count = len(sample.cells)
    reach = stats.norm.isf(level) + stats.norm.isf(1 - _POWER)
    if metric.estimator == "proportion":
        rate = min(max(base, 0.05), 0.95)
        variance = rate * (1 - rate)
    else:
        sides = [cell.of_trials(new=new) for cell in sample.cells for new in (False, True)]
        spreads = [
            1.4826 * float(np.median(np.abs(v - np.median(v)))) for v in sides if v.size > 2 and np.isfinite(v).all()
        ]
        if not spreads:
            return None
        variance = float(np.mean(np.square(spreads)))
    if threshold <= 0:
        return None
    by_noise = 2 * reach**2 * variance / (threshold**2 * count) * math.pi / 3
    fewest = next((n for n in range(1, 1000) if math.comb(2 * n, n) ** -count <= level), 1000)
    return int(max(fewest, math.ceil(by_noise)))
