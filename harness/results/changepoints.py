"""Where a history may have changed, and with what certainty by its sessions: arrays in, p values out.

Where: least squares over all cells at once, in units of each cell's own noise (ruptures: Truong et al. 2020). Two
shapes are looked for in a stretch of the history: one change, and a change that is taken back (circular binary
segmentation, Olshen et al. 2004). A third is a drift, told by Kendall's tau between order and value.

Certainty here is that of sessions, each of which counts once however many trials it has: what a session shifts (another
load of the machine, another temperature) is noise between sessions, which no number of trials averages out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import ruptures as rpt
from scipy import stats

from harness.results.statistics import Floats, as_floats

# A single session that is far off must not outweigh a change that many show.
_CLIPPED = 8.0
_RESAMPLES = 499
# A stretch with fewer points is not searched any further.
FEWEST_SEARCHED = 4
# A change that was taken back needs so many points inside: of one point alone it is an outlier.
_FEWEST_INSIDE = 2


@dataclass(frozen=True)
class Sides:
    """One-sided p values of "higher" and "lower"."""

    higher: float
    lower: float

    def times(self, factor: float) -> Sides:
        """Return both, corrected for so many choices."""
        return Sides(min(1.0, self.higher * factor), min(1.0, self.lower * factor))

    def at_least(self, other: Sides) -> Sides:
        """Return the larger of both tests' p values: what both must show."""
        return Sides(max(self.higher, other.higher), max(self.lower, other.lower))


NOTHING = Sides(1.0, 1.0)


def finite(matrix: Floats) -> Floats:
    """Return a matrix of sessions by cells in which what was beyond a deadline is twice the largest that was not."""
    found = matrix.copy()
    for column in found.T:
        known = column[np.isfinite(column)]
        column[np.isinf(column)] = 2 * np.abs(known).max() + 1 if known.size else 1.0
    return found


def in_noise(matrix: Floats) -> Floats:
    """Return each column around its median, in units of its noise from row to row, missing ones as 0.

    Rows that are equal tell of no noise: values beyond a deadline are all alike.
    """
    scaled = np.zeros_like(matrix)
    for number, column in enumerate(matrix.T):
        steps = np.abs(np.diff(column[~np.isnan(column)]))
        steps = steps[steps > 0]
        if steps.size:
            noise = 1.4826 * np.median(steps) / np.sqrt(2)
            scaled[:, number] = np.nan_to_num((column - np.nanmedian(column)) / noise)
    return as_floats(np.clip(scaled, -_CLIPPED, _CLIPPED))


def best_split(signal: Floats) -> int:
    """Return the row at which the rows fall into two most different parts; of two rows or more."""
    return int(rpt.KernelCPD(kernel="linear", min_size=1).fit(signal).predict(n_bkps=1)[0])


def best_stretch(signal: Floats) -> tuple[int, int] | None:
    """Return first and end of the inner rows that differ most from both ends; None where there are too few rows."""
    if len(signal) < _FEWEST_INSIDE + 2 * _FEWEST_INSIDE:
        return None
    first, end, _ = rpt.KernelCPD(kernel="linear", min_size=_FEWEST_INSIDE).fit(signal).predict(n_bkps=2)
    return int(first), int(end)


def between_sessions(matrix: Floats, base: np.ndarray, new: np.ndarray, *, mean: bool) -> Sides:
    """Return P that the new sessions are only by chance so much higher (lower) than the base's: Student's t.

    Tested are the typical cell and each cell by itself (Bonferroni, half of the weight for either). The spread is that
    within the two groups; where there is none, what differs differs for certain.
    """
    return _over_cells(matrix, lambda column: _student(column[base], column[new]), mean=mean)


def drifting(matrix: Floats, *, mean: bool) -> Sides:
    """Return P that the rows, in their order, rise (fall) so steadily only by chance: Kendall's tau."""
    return _over_cells(matrix, _kendall, mean=mean)


def _over_cells(matrix: Floats, test: Callable[[Floats], Sides], *, mean: bool) -> Sides:
    typical = test(typical_of(matrix, mean=mean))
    if matrix.shape[1] == 1:
        return typical
    each = [test(as_floats(column)).times(2 * matrix.shape[1]) for column in matrix.T]
    higher = min(2 * typical.higher, *(one.higher for one in each))
    return Sides(min(1.0, higher), min(1.0, 2 * typical.lower, *(one.lower for one in each)))


def typical_of(matrix: Floats, *, mean: bool) -> Floats:
    """Return one number per row over its cells, each around its median in units of its spread: their median, or mean
    for rates."""
    if matrix.shape[1] == 1:
        return as_floats(matrix[:, 0])
    centred = matrix - np.nanmedian(matrix, axis=0)
    spread = np.nanmedian(np.abs(centred), axis=0)
    scaled = centred / np.where(spread > 0, spread, 1.0)
    rows = [row[~np.isnan(row)] for row in scaled]
    return as_floats([np.nan if not row.size else (np.mean if mean else np.median)(row) for row in rows])


def _student(base: Floats, new: Floats) -> Sides:
    base, new = base[~np.isnan(base)], new[~np.isnan(new)]
    freedom = base.size + new.size - 2
    if not base.size or not new.size or freedom < 1:
        return NOTHING
    difference = float(new.mean() - base.mean())
    within = float(((base - base.mean()) ** 2).sum() + ((new - new.mean()) ** 2).sum()) / freedom
    if within <= 1e-18 * max(1.0, difference**2):
        return NOTHING if difference == 0 else Sides(float(difference < 0), float(difference > 0))
    t = difference / np.sqrt(within * (1 / base.size + 1 / new.size))
    return Sides(float(stats.t.sf(t, freedom)), float(stats.t.cdf(t, freedom)))


def _kendall(values: Floats) -> Sides:
    known = values[~np.isnan(values)]
    if known.size < FEWEST_SEARCHED or np.ptp(known) == 0:
        return NOTHING
    order = np.arange(known.size)
    rising, falling = (float(stats.kendalltau(order, known, alternative=way).pvalue) for way in ("greater", "less"))
    return Sides(rising, falling)


def is_rather_a_drift(values: Floats, ends: list[int]) -> bool:
    """Tell whether a straight line tells these rows better than levels that end at `ends`, by BIC."""
    known = ~np.isnan(values)
    rows = np.arange(values.size)
    line = np.polyval(np.polyfit(rows[known], values[known], 1), rows)
    levels = np.empty(values.size)
    for first, end in zip([0, *ends], [*ends, values.size], strict=True):
        part = values[first:end]
        levels[first:end] = np.nan if np.isnan(part).all() else np.nanmean(part)
    # A level has a place as well as a height.
    return _bic(values[known] - line[known], 2) < _bic(values[known] - levels[known], 2 * len(ends) + 1)


def _bic(residuals: Floats, parameters: int) -> float:
    size = residuals.size
    variance = max(float(np.mean(residuals**2)), 1e-12)
    return size * float(np.log(variance)) + parameters * float(np.log(size))


def place_interval(signal: Floats, split: int) -> tuple[int, int]:
    """Return the rows between which the split lies, 95 %: percentile bootstrap of the rows within both parts."""
    rng = np.random.default_rng(0)
    count = len(signal)
    if split < 2 or count - split < 2:
        return split, split
    places = []
    for _ in range(_RESAMPLES):
        drawn = [rng.integers(split, size=split), split + rng.integers(count - split, size=count - split)]
        means = np.stack([signal[:split].mean(axis=0), signal[split:].mean(axis=0)])
        levels = np.repeat(means, [split, count - split], axis=0)
        residuals = (signal - levels)[np.concatenate(drawn)]
        places.append(_least_squares(levels + residuals))
    low, high = np.quantile(places, [0.025, 0.975], method="nearest")
    return int(low), int(high)


def _least_squares(signal: Floats) -> int:
    """Return the best split by sums: what ruptures finds, for hundreds of short signals at once."""
    count = len(signal)
    sums = np.cumsum(signal, axis=0)[:-1]
    sizes = np.arange(1, count)[:, None]
    gain = (sums**2 / sizes + (signal.sum(axis=0) - sums) ** 2 / (count - sizes)).sum(axis=1)
    return int(np.argmax(gain)) + 1
