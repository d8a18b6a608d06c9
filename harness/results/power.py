"""What so many trials could have found, and how many it takes: from the noise of the data at hand.

A change is called when it is certain and its estimate is as large as matters. An effect of just that size has an
estimate below it in half of the runs, however many repeats there are: what can be aimed at is larger. Spread is that of
pairs of trials of one cell and run (Shamos 1976: neither a few trials far off nor few trials bias it), in units of the
cell's own smallest change that matters; that it is estimated from few trials is allowed for by Student's quantiles in
place of the normal ones (Stein 1945).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from harness.results.changes import POOLED, Rule, threshold_of
from harness.results.matching import Sample
from harness.results.metrics import metric_of
from harness.results.statistics import Floats

# With what probability a change is found of which it is said that it would be.
_POWER = 0.9
# The effect at which repeats aim, in units of the smallest that matters.
AIM = 2.0
# Of normal values the standard deviation is so many times the median distance of two, which is as good as so large a
# share of the values would be by themselves.
_BY_DISTANCE, _EFFICIENCY = 1.0483, 0.86
# So much wider than a mean's are a median's errors; the rank sum's are between.
_MEDIAN, _RANKS = math.pi / 2, math.pi / 3


@dataclass(frozen=True)
class Noise:
    """The noise of a sample: `spread` of one trial's value in units of the smallest change that matters, estimated from
    so many `degrees` of freedom (inf: known), and `trials`, the sum over cells of what each has in a run; `cells`."""

    spread: float
    degrees: float
    trials: float
    cells: int
    is_rate: bool

    def findable(self, level: float) -> float:
        """Return the smallest effect that these trials find with a power of 90 %, in units of what matters."""
        root = math.sqrt(max(self.trials - self.cells * _lost(level), self.cells))
        return max(1 + self._margin() / root, self._reach(level) / root)

    def repeats(self, level: float) -> int:
        """Return how many repeats a cell needs to find an effect of `AIM` with a power of 90 %."""
        trials = max((self._margin() / (AIM - 1)) ** 2, (self._reach(level) / AIM) ** 2)
        return max(_fewest(self.cells, level), math.ceil(trials / self.cells + _lost(level)))

    def _margin(self) -> float:
        """Return by how much an effect must exceed what matters so that its estimate does, times sqrt(trials)."""
        wide = 1.0 if self.is_rate else _MEDIAN * (_MEDIAN if self.cells > 2 else 1.0)
        return self._quantile(1 - _POWER) * self.spread * math.sqrt(2 * wide)

    def _reach(self, level: float) -> float:
        """Return how large an effect must be to be significant, times sqrt(trials)."""
        level = level * (POOLED if self.cells > 1 else 1.0)
        reach = self._quantile(level) + self._quantile(1 - _POWER)
        return reach * self.spread * math.sqrt(2 * (1.0 if self.is_rate else _RANKS))

    def _quantile(self, tail: float) -> float:
        return _quantile(tail, self.degrees)


def _lost(level: float) -> float:
    """Return how many trials a cell loses to what the normal approximation overlooks (Guenther 1981)."""
    return _quantile(level, math.inf) ** 2 / 4


@lru_cache(maxsize=4096)
def _quantile(tail: float, degrees: float) -> float:
    return float(stats.norm.isf(tail) if math.isinf(degrees) else stats.t.isf(tail, degrees))


@lru_cache(maxsize=4096)
def _fewest(cells: int, level: float) -> int:
    """Return from how many repeats on a test of so many cells can reach the level at all."""
    return next((n for n in range(1, 1000) if math.comb(2 * n, n) ** -cells <= level), 1000)


def noise_of(sample: Sample, base: float, threshold: float, rule: Rule) -> Noise | None:
    """Return the noise of a sample; None where it cannot be told: no cell has two trials in a run, or too many of them
    are beyond the deadline.

    Args:
        base: the middle base, a rate for successes.
        threshold: the smallest change of it that matters, in the metric's unit.
    """
    metric = metric_of(sample.metric, sample.unit)
    sizes = [cell.counts for cell in sample.cells]
    trials = sum(2 / (1 / old + 1 / now) for old, now in sizes)
    if metric.estimator == "proportion":
        if threshold <= 0:
            return None
        other = base - AIM * threshold if base > 0.5 else base + AIM * threshold
        rates = [min(max(rate, 0.05), 0.95) for rate in (base, other)]
        spread = math.sqrt(sum(rate * (1 - rate) for rate in rates) / 2) / threshold
        return Noise(spread, math.inf, trials, len(sizes), is_rate=True)
    found = _distances(_sides(sample, rule))
    if not found.size or not math.isfinite(middle := float(np.median(found))):
        return None
    # Noise grows with the values: that of the new run is what it would be after such a change.
    grown = math.sqrt((1 + (1 + AIM * threshold / abs(base)) ** 2) / 2) if base else 1.0
    degrees = _EFFICIENCY * sum(old + now - 2 for old, now in sizes)
    return Noise(_BY_DISTANCE * grown * middle, max(1.0, degrees), trials, len(sizes), is_rate=False)


def _sides(sample: Sample, rule: Rule) -> Iterator[tuple[float, Floats]]:
    """Yield the values of each cell's and run's trials, with the smallest change of the cell that matters."""
    metric = metric_of(sample.metric, sample.unit)
    for cell in sample.cells:
        own = threshold_of(metric, cell.middles[0], rule)
        if own > 0:
            yield from ((own, cell.of_trials(new=new)) for new in (False, True))


def _distances(sides: Iterable[tuple[float, Floats]]) -> Floats:
    """Return how far apart any two values of a side are, in its own unit; 0 where both are beyond the deadline."""
    by_size: dict[int, list[tuple[float, Floats]]] = {}
    for own, side in sides:
        by_size.setdefault(side.size, []).append((own, side))
    found = [np.empty(0)]
    for size, alike in by_size.items():
        first, second = _pairs_of(size)
        values, owns = np.array([side for _, side in alike]), np.array([own for own, _ in alike])
        with np.errstate(invalid="ignore"):
            apart = np.abs(values[:, first] - values[:, second])
        apart[np.isnan(apart)] = 0.0
        found.append((apart / owns[:, None]).ravel())
    return np.concatenate(found)


@lru_cache(maxsize=4)
def _pairs_of(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of each two of so many."""
    return np.triu_indices(size, 1)
