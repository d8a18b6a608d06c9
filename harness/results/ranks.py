"""An exact test of two groups of trials, cell by cell: Wilcoxon's rank sum, stratified, by permutation of whole trials.

Within a cell the trials of both runs are ranked together (per pair of members where a trial has several, whose ranks
are then averaged, since a trial is what was drawn). Under "no difference" any assignment of the cell's trials to the
two runs is as likely as the one that was seen; the statistic is the sum of the new run's ranks over all cells, each
divided by its size (van Elteren 1960), in whole numbers. Its distribution is counted, not approximated (the shift
algorithm of Streitberg and Roehmel 1986), so that p values far out are right, which a correction for many tests needs.
With 0 and 1 as values it is Fisher's exact test, over several cells that of Mantel and Haenszel. Only a cell in which
both runs have more than 40 trials is taken as normal, and a yes or no is counted even then.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy import fft, stats

from harness.results.statistics import Floats, as_floats, middle

# Means of ranks over pairs become whole numbers of this part of a rank.
_PART = 10
# Up to so many trials in a cell all is counted. Beyond, the normal distribution does where each run has more than half
# as many, and so many are beside the commonest value; what has two values is counted whatever its size.
MOST_COUNTED = 80
# Where one run has few trials and the other very many, scores are made so coarse that counting takes no more additions.
_MOST_STEPS = 4e8
# Standard deviations to either side within which a normal distribution is tabulated.
_REACH = 10
_LEAST = 1e-12  # what the fast convolution resolves


@dataclass(frozen=True)
class Cell:
    """One cell of one metric: value, trial, pair of members and run of each measurement; inf: censored.

    `pair_names` are those of the pairs by their number in `pairs`, on each of their paths where they took several;
    both runs have each. Empty where trials have one pair, or pairs are not to be told apart.
    """

    name: str
    values: Floats
    trials: np.ndarray
    pairs: np.ndarray
    new: np.ndarray
    pair_names: tuple[str, ...] = ()

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
        """Twice the rank of each trial (the mean over its pairs), and which trials are the new run's.

        Ranks of a pair are taken from their mean, and those of a pair that fewer trials measured weigh more: what
        pairs and paths a trial has says nothing of what they cost.
        """
        if not self.clustered:
            return as_floats(doubled_ranks(self.values)), self.new
        ranks = np.empty(self.values.size)
        numbers, counts = np.unique(self.pairs, return_counts=True)
        for pair, count in zip(numbers, counts, strict=True):
            chosen = self.pairs == pair
            ranks[chosen] = (doubled_ranks(self.values[chosen]) - count - 1) * ((counts.max() + 1) / (count + 1))
        _, first, codes = np.unique(self.trials, return_index=True, return_inverse=True)
        return as_floats(np.bincount(codes, ranks) / np.bincount(codes)), self.new[first]

    @cached_property
    def parts(self) -> tuple[Cell, ...]:
        """A cell for each pair of members that has a name; this one alone where none has.

        Their trials are the same, so that parts are tested one by one and never added up.
        """
        if not self.pair_names:
            return (self,)
        chosen = [self.pairs == number for number in range(len(self.pair_names))]
        return tuple(
            Cell(
                f"{self.name}, {name}",
                as_floats(self.values[rows]),
                self.trials[rows],
                self.pairs[rows],
                self.new[rows],
            )
            for name, rows in zip(self.pair_names, chosen, strict=True)
        )

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


# A score per trial, and which trials are the new run's.
_Scored = tuple[np.ndarray, np.ndarray]

NOTHING_TO_TEST = TwoSided(1.0, 1.0, 1.0, 1.0)


def rank_test(cells: Sequence[Cell]) -> TwoSided:
    """Return the test over these cells; those in which a run has no trial, or nothing varies, say nothing."""
    largest = max((cell.ranked[1].size for cell in cells), default=0)
    part = _PART if any(cell.clustered for cell in cells) else 1
    scored = [_scores(cell, part, largest) for cell in cells]
    useful = [(scores, new) for scores, new in scored if 0 < new.sum() < new.size and scores.min() < scores.max()]
    if not useful:
        return NOTHING_TO_TEST
    large = [_is_large(scores, new) for scores, new in useful]
    if all(large):
        return _normal(useful)
    useful = _on_a_grid(useful, large)
    masses = [
        _normal_mass(scores, new) if approximate else _counted(tuple(sorted(scores.tolist())), int(new.sum()))
        for (scores, new), approximate in zip(useful, large, strict=True)
    ]
    seen = sum(int(scores[new].sum()) - one.smallest for (scores, new), one in zip(useful, masses, strict=True))
    mass = _of_sum(masses)
    at_least, at_most = mass[max(0, seen) :].sum(), mass[: max(0, seen + 1)].sum()
    higher, lower = (min(1.0, max(float(p), _LEAST)) for p in (at_least, at_most))
    least_higher = float(np.prod([one.mass[-1] for one in masses]))
    least_lower = float(np.prod([one.mass[0] for one in masses]))
    return TwoSided(higher, lower, least_higher, least_lower)


def _is_large(scores: np.ndarray, new: np.ndarray) -> bool:
    """Tell whether the normal distribution does: many trials on both sides, and many beside the commonest value."""
    values, counts = np.unique(scores, return_counts=True)
    beside = int(scores.size - counts.max())
    return values.size > 2 and min(int(new.sum()), int((~new).sum()), beside) > MOST_COUNTED // 2


def _on_a_grid(useful: Sequence[_Scored], large: Sequence[bool]) -> list[_Scored]:
    """Return the scores in their common unit, from 0 on; in a coarser one where counting would take too long.

    Any scores make an exact test of permutations; coarser ones only see a little less.
    """
    shifted = [scores - scores.min() for scores, _ in useful]
    unit = int(np.gcd.reduce(np.concatenate(shifted)))
    steps = [
        _steps_of_counting(scores, int(new.sum())) / unit
        for scores, (_, new), approximate in zip(shifted, useful, large, strict=True)
        if not approximate
    ]
    coarse = unit * max(1, math.ceil(max(steps) / _MOST_STEPS))
    on_grid = [np.rint(scores / coarse).astype(np.int64) for scores in shifted]
    return [(scores, new) for scores, (_, new) in zip(on_grid, useful, strict=True)]


def _steps_of_counting(scores: np.ndarray, chosen: int) -> int:
    values, counts = np.unique(scores, return_counts=True)
    if values.size == 2:
        return 0
    beside = int(scores.size - counts.max())
    most = min(chosen, scores.size - chosen, beside)
    return beside * most * int(np.sort(scores)[-most:].sum())


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


def _counted(scores: tuple[int, ...], chosen: int) -> _Mass:
    """Return the distribution of the sum of so many of the scores (sorted); kept for what is likely asked again."""
    return _kept(scores, chosen) if len(scores) <= MOST_COUNTED else _mass(scores, chosen)


def _mass(scores: tuple[int, ...], chosen: int) -> _Mass:
    if 2 * chosen > len(scores):
        rest = _mass(scores, len(scores) - chosen)
        return _Mass(sum(scores) - rest.smallest - rest.mass.size + 1, as_floats(rest.mass[::-1]))
    # Of how many are beside the commonest score the hypergeometric distribution tells: all of it with two values.
    common, ties = Counter(scores).most_common(1)[0]
    beside = [score for score in scores if score != common]
    least, most = max(0, chosen - ties), min(chosen, len(beside))
    base = beside[0]
    table = _ways([score - base for score in beside], most)
    ways = math.comb(len(scores), chosen)
    starts = [(chosen - count) * common + count * base for count in range(least, most + 1)]
    origin = min(starts)
    mass = np.zeros(max(starts) - origin + table.shape[1])
    for count, start in zip(range(least, most + 1), starts, strict=True):
        share = math.comb(len(beside), count) * math.comb(ties, chosen - count) / ways
        mass[start - origin : start - origin + table.shape[1]] += share * (table[count] / table[count].sum())
    nonzero = np.flatnonzero(mass)
    return _Mass(int(origin + nonzero[0]), as_floats(mass[nonzero[0] : nonzero[-1] + 1]))


def _ways(steps: Sequence[int], most: int) -> Floats:
    """Return in how many ways 0 to `most` of the steps (sorted, from 0 on) have each sum; a row per number of them."""
    if steps[-1] == 0:
        return np.ones((most + 1, 1))
    largest = sum(steps[-most:])
    table = np.zeros((most + 1, largest + 1))
    table[0, 0] = 1.0
    for number, step in enumerate(steps, 1):
        for count in range(min(number, most), 0, -1):
            table[count, step:] += table[count - 1, : largest + 1 - step]
    return table


_kept = lru_cache(maxsize=4096)(_mass)


def _normal_mass(scores: np.ndarray, new: np.ndarray) -> _Mass:
    """Return the normal distribution of a large cell's sum, on the grid of the others."""
    mean, variance = _moments(scores, new)
    reach = _REACH * math.sqrt(variance)
    grid = np.arange(math.floor(mean - reach), math.ceil(mean + reach) + 1)
    edges = (np.append(grid, grid[-1] + 1) - 0.5 - mean) / math.sqrt(variance)
    return _Mass(int(grid[0]), as_floats(np.diff(stats.norm.cdf(edges))))


def _moments(scores: np.ndarray, new: np.ndarray) -> tuple[float, float]:
    n, m = new.size, int(new.sum())
    return m * float(scores.mean()), m * (n - m) / n * float(scores.var(ddof=1))


def _normal(useful: Sequence[_Scored]) -> TwoSided:
    seen = sum(float(scores[new].sum()) for scores, new in useful)
    mean, variance = (sum(parts) for parts in zip(*(_moments(*one) for one in useful), strict=True))
    z = (seen - mean) / np.sqrt(variance)
    return TwoSided(float(stats.norm.sf(z)), float(stats.norm.cdf(z)), 0.0, 0.0)
