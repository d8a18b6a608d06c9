"""An exact test of two groups of trials, cell by cell: Wilcoxon's rank sum, stratified, by permutation of whole trials.

Within a cell the trials of both runs are ranked together (per pair of members where a trial has several, whose ranks
are then averaged, since a trial is what was drawn). Under "no difference" any assignment of the cell's trials to the
two runs is as likely as the one that was seen; the statistic is the sum of the new run's ranks over all cells, each
divided by its size (van Elteren 1960), in whole numbers. Its distribution is counted, not approximated (the shift
algorithm of Streitberg and Roehmel 1986), so that p values far out are right, which a correction for many tests needs.
With 0 and 1 as values it is Fisher's exact test, over several cells that of Mantel and Haenszel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy import fft, stats

from harness.results.statistics import Floats, as_floats, middle

# Means of ranks over pairs become whole numbers of this part of a rank.
_PART = 10
# Beyond so many trials in a cell the normal distribution does, and counting takes long.
_MOST_COUNTED = 80
_LEAST = 1e-12  # what the fast convolution resolves


@dataclass(frozen=True)
class Cell:
    """One cell of one metric: value, trial, pair of members and run of each measurement; inf: censored."""

    name: str
    values: Floats
    trials: np.ndarray
    pairs: np.ndarray
    new: np.ndarray

    def side(self, *, new: bool) -> Floats:
        """Return the values of one run."""
        return as_floats(self.values[self.new == new])

    def of_trials(self, *, new: bool) -> Floats:
        """Return one value per trial of a run: the mean over its pairs (inf where any is)."""
        chosen = self.new == new
        if not self.clustered:
            return as_floats(self.values[chosen])
        codes = np.unique(self.trials[chosen], return_inverse=True)[1]
        return as_floats(np.bincount(codes, self.values[chosen]) / np.bincount(codes))

    @cached_property
    def clustered(self) -> bool:
        """Whether trials have several values."""
        return len(set(self.trials.tolist())) < self.values.size

    @cached_property
    def ranked(self) -> tuple[Floats, np.ndarray]:
        """Twice the rank of each trial (the mean over its pairs), and which trials are the new run's."""
        if not self.clustered:
            return as_floats(doubled_ranks(self.values)), self.new
        ranks = np.empty(self.values.size)
        for pair in np.unique(self.pairs):
            chosen = self.pairs == pair
            ranks[chosen] = doubled_ranks(self.values[chosen])
        _, first, codes = np.unique(self.trials, return_index=True, return_inverse=True)
        return as_floats(np.bincount(codes, ranks) / np.bincount(codes)), self.new[first]

    @cached_property
    def alone(self) -> TwoSided:
        """The test of this cell by itself."""
        return rank_test([self])

    @cached_property
    def middles(self) -> tuple[float, float]:
        """The medians of the base and of the new run."""
        return middle(self.side(new=False)), middle(self.side(new=True))


@dataclass(frozen=True)
class TwoSided:
    """One-sided p values of "new is higher" and "new is lower", and the smallest that such data could have given."""

    higher: float
    lower: float
    least_higher: float
    least_lower: float


@dataclass(frozen=True, eq=False)
class _Mass:
    """A distribution of whole numbers: the smallest, and the mass from there on. Equal where it is the same object."""

    smallest: int
    mass: Floats


NOTHING_TO_TEST = TwoSided(1.0, 1.0, 1.0, 1.0)


def rank_test(cells: Sequence[Cell]) -> TwoSided:
    """Return the test over these cells; those in which a run has no trial, or nothing varies, say nothing."""
    largest = max((cell.ranked[1].size for cell in cells), default=0)
    part = _PART if any(cell.clustered for cell in cells) else 1
    scored = [_scores(cell, part, largest) for cell in cells]
    useful = [(scores, new) for scores, new in scored if 0 < new.sum() < new.size and scores.min() < scores.max()]
    if not useful:
        return NOTHING_TO_TEST
    if any(new.size > _MOST_COUNTED for _, new in useful):
        return _normal(useful)
    masses = [_mass(tuple(sorted(scores.tolist())), int(new.sum())) for scores, new in useful]
    seen = sum(int(scores[new].sum()) - one.smallest for (scores, new), one in zip(useful, masses, strict=True))
    mass = _of_sum(masses)
    higher, lower = (min(1.0, max(float(p), _LEAST)) for p in (mass[seen:].sum(), mass[: seen + 1].sum()))
    least_higher = float(np.prod([one.mass[-1] for one in masses]))
    least_lower = float(np.prod([one.mass[0] for one in masses]))
    return TwoSided(higher, lower, least_higher, least_lower)


def _scores(cell: Cell, part: int, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a whole number per trial, and which trials are the new run's."""
    ranks, new = cell.ranked
    weight = max(1, round((largest + 1) / (new.size + 1)))
    return np.rint(part * weight * ranks).astype(np.int64), new


def _of_sum(masses: Sequence[_Mass]) -> Floats:
    """Return the distribution of the sum; equal ones, which untied cells of one size have, are transformed once."""
    if len(masses) == 1:
        return masses[0].mass
    length = fft.next_fast_len(sum(one.mass.size - 1 for one in masses) + 1, real=True)
    product = np.ones(length // 2 + 1, dtype=np.complex128)
    for one, count in Counter(masses).items():
        product *= fft.rfft(one.mass, length) ** count
    return as_floats(np.clip(fft.irfft(product, length), 0.0, None))


def doubled_ranks(values: Floats) -> np.ndarray:
    """Return twice the rank of each value, equal ones sharing their mean rank: whole numbers."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (2 * np.cumsum(counts) - counts + 1)[codes]


@lru_cache(maxsize=4096)
def _mass(scores: tuple[int, ...], chosen: int) -> _Mass:
    """Return the distribution of the sum of so many of the scores."""
    base = scores[0]
    steps = [score - base for score in scores]
    largest = sum(steps[-chosen:])
    table = np.zeros((chosen + 1, largest + 1))
    table[0, 0] = 1.0
    for number, step in enumerate(steps, 1):
        for count in range(min(number, chosen), 0, -1):
            table[count, step:] += table[count - 1, : largest + 1 - step]
    counts = table[chosen]
    smallest = int(np.flatnonzero(counts)[0])
    return _Mass(smallest + chosen * base, as_floats(counts[smallest:] / counts.sum()))


def _normal(useful: Sequence[tuple[np.ndarray, np.ndarray]]) -> TwoSided:
    mean = variance = seen = 0.0
    for scores, new in useful:
        n, m = new.size, int(new.sum())
        seen += float(scores[new].sum())
        mean += m * float(scores.mean())
        variance += m * (n - m) / n * float(scores.var(ddof=1))
    z = (seen - mean) / np.sqrt(variance)
    return TwoSided(float(stats.norm.sf(z)), float(stats.norm.cdf(z)), 0.0, 0.0)
