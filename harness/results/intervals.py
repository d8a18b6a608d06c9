"""Intervals of changes between two runs."""

from __future__ import annotations

import math

import numpy as np

from harness.results.clusters import estimate
from harness.results.matching import Sample
from harness.results.ranks import Cell
from harness.results.statistics import Estimate, Floats

_RESAMPLES = 299
# From so many cells on these are drawn too: with one trial each, they alone show how much a change varies.
_CELLS_DRAWN = 6
# Where they are not, so many trials of each run are resampled at least.
_FEWEST_TRIALS = 5


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

    NaN where there are few cells and those have fewer than five trials in a run: with two in one cell such an interval
    would cover the truth in 68 % of the cases, with three in 89 %.
    """
    count = len(sample.cells)
    if count < _CELLS_DRAWN and float(np.median([_trials(cell) for cell in sample.cells])) < _FEWEST_TRIALS:
        return math.nan, math.nan
    rng = np.random.default_rng(0)
    drawn = np.concatenate([_drawn(cell, rng) for cell in sample.cells])
    if count >= _CELLS_DRAWN:
        drawn = drawn[rng.integers(len(drawn), size=drawn.shape), np.arange(_RESAMPLES)]
    middles = middles_of(drawn)
    middles = np.sort(middles[~np.isnan(middles)])
    if not middles.size:
        return math.nan, math.nan
    return float(middles[round(0.025 * (middles.size - 1))]), float(middles[round(0.975 * (middles.size - 1))])


def _trials(cell: Cell) -> int:
    """Return how many trials the run has that has fewer."""
    return min(len(set(cell.trials[cell.new == new].tolist())) for new in (False, True))


def _drawn(cell: Cell, rng: np.random.Generator) -> Floats:
    """Return resampled changes of the median of each of a cell's parts, new minus base; whole trials are drawn.

    NaN where none of the trials drawn has a part, which is no change of nothing; 0 where both medians never came.
    """
    medians = []
    for new in (False, True):
        tables = _by_trial(cell, new=new)
        trials = tables[0].size
        drawn = rng.integers(trials, size=(_RESAMPLES, trials))
        medians.append(np.stack([_medians(table[drawn]) for table in tables]))
    with np.errstate(invalid="ignore"):
        change = medians[1] - medians[0]
    return np.where(np.isinf(medians[0]) & (medians[0] == medians[1]), 0.0, change)


def _by_trial(cell: Cell, *, new: bool) -> list[Floats]:
    """Return one value per trial of a run for each of a cell's parts, NaN where the trial has none of that part."""
    if not cell.pair_names:
        return [cell.of_trials(new=new)]
    known = np.unique(cell.trials[cell.new == new])
    found = []
    for part in cell.parts:
        rows = part.new == new
        values = np.full(known.size, np.nan)
        values[np.searchsorted(known, part.trials[rows])] = part.values[rows]
        found.append(values)
    return found


def _medians(drawn: Floats) -> Floats:
    """Return the median of each row of what was drawn, of those that there are; NaN where there is none."""
    picked, counts = np.sort(drawn, axis=1), (~np.isnan(drawn)).sum(axis=1)
    rows = np.arange(len(picked))
    lower, upper = (
        picked[rows, np.maximum(counts - 1, 0) // 2],
        picked[rows, np.minimum(counts // 2, picked.shape[1] - 1)],
    )
    upper = np.where(counts > 0, upper, np.nan)
    return np.where(np.isinf(upper), upper, (lower + upper) / 2)


def middles_of(changes: Floats) -> Floats:
    """Return the medians along the first axis of those that there are, NaN of none.

    Some changes may be from or to beyond the deadline (-inf, inf); where the middle lies between these it is 0, since
    as many got worse as better.
    """
    rows = changes.reshape(len(changes), -1)
    ordered, counts = np.sort(rows, axis=0), (~np.isnan(rows)).sum(axis=0)
    columns = np.arange(rows.shape[1])
    lower, upper = (
        ordered[np.maximum(counts - 1, 0) // 2, columns],
        ordered[np.minimum(counts // 2, len(ordered) - 1), columns],
    )
    with np.errstate(invalid="ignore"):
        found = (lower + upper) / 2
    found = np.where(np.isneginf(lower) & np.isposinf(upper), 0.0, found)
    return np.where(counts > 0, found, np.nan).reshape(changes.shape[1:])
