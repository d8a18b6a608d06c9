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

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from harness.results.distributions import MOST_COUNTED
from harness.results.ranksums import (
    NOTHING_TO_TEST,
    Kind,
    Scored,
    TwoSided,
    of_kinds,
    of_one,
    of_scored,
    weight_of,
)
from harness.results.statistics import Floats, as_floats, middle, middle_of_sorted

# A value of more than so many times its cell's median is an outlier. A median does not see a fifth of them.
OUTLYING = 2.0
# Means of ranks over pairs become whole numbers of this part of a rank.
_PART = 10


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
        return self.sides[new]

    def of_trials(self, *, new: bool) -> Floats:
        """Return one value per trial of a run: the mean over its pairs (inf where any is)."""
        if not self.clustered:
            return self.sides[new]
        codes = np.unique(self.trials[self.new == new], return_inverse=True)[1]
        return as_floats(np.bincount(codes, self.sides[new]) / np.bincount(codes))

    # What follows is kept: a cell is tested by itself, among those of its subject, and among those of all subjects.

    @cached_property
    def sides(self) -> tuple[Floats, Floats]:
        """The values of the base and of the new run."""
        return as_floats(self.values[~self.new]), as_floats(self.values[self.new])

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self.values)

    @cached_property
    def ordered(self) -> Floats:
        """All values, the smallest first."""
        return as_floats(self.values[self._order])

    @cached_property
    def clustered(self) -> bool:
        """Whether trials have several values."""
        return len(set(self.trials.tolist())) < self.values.size

    @cached_property
    def counts(self) -> tuple[int, int]:
        """How many trials of the base and of the new run it has."""
        if not self.clustered:
            return self.sides[0].size, self.sides[1].size
        base, new = (len(set(self.trials[self.new == side].tolist())) for side in (False, True))
        return base, new

    @cached_property
    def varies(self) -> bool:
        """Whether any two values differ."""
        return bool(self.ordered[0] != self.ordered[-1])

    @cached_property
    def doubled(self) -> np.ndarray:
        """Twice the rank of each value among all of them."""
        return _doubled(self.ordered, self._order)

    @cached_property
    def signs(self) -> int:
        """In how many pairs of a base's and a new value the new one is higher, less those in which it is lower."""
        base, new = (side.size for side in self.sides)
        return self.doubled_sum - new * (new + 1) - base * new

    @cached_property
    def doubled_sum(self) -> int:
        """The sum of the new run's values' doubled ranks."""
        return int(self.doubled[self.new].sum())

    @cached_property
    def kind(self) -> Kind:
        """Its doubled ranks in order, and how many values are the new run's: of what the test's distribution is."""
        return tuple(self.doubled[self._order].tolist()), self.sides[1].size

    @cached_property
    def ranked(self) -> tuple[Floats, np.ndarray]:
        """Twice the rank of each trial (the mean over its pairs), and which trials are the new run's.

        Ranks of a pair are taken from their mean, and those of a pair that fewer trials measured weigh more: what
        pairs and paths a trial has says nothing of what they cost.
        """
        if not self.clustered:
            return as_floats(self.doubled), self.new
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
        trials = sum(self.counts)
        if self.clustered or trials > MOST_COUNTED or not self.varies or not all(self.counts):
            return rank_test([self])
        return of_one(*self.kind, self.doubled_sum)

    @cached_property
    def middles(self) -> tuple[float, float]:
        """The medians of the base and of the new run."""
        new = self.new[self._order]
        return middle_of_sorted(self.ordered[~new]), middle_of_sorted(self.ordered[new])

    @cached_property
    def rates(self) -> tuple[float, float]:
        """The means of the base and of the new run."""
        return float(self.sides[0].mean()), float(self.sides[1].mean())

    @cached_property
    def sums(self) -> tuple[float, float]:
        """The sums of the base's and of the new run's values."""
        if not self.varies and self.values[0] == 0:
            return 0.0, 0.0
        return float(self.sides[0].sum()), float(self.sides[1].sum())

    @cached_property
    def furthest_middles(self) -> tuple[tuple[float, float], ...]:
        """The medians of two runs to which its trials are dealt so that they differ most, in either direction.

        Of each of its parts, and of all of it: the runs lie wholly apart there.
        """
        return tuple((middle_of_sorted(base), middle_of_sorted(new)) for base, new in self._apart)

    @cached_property
    def furthest_rates(self) -> tuple[tuple[float, float], ...]:
        """The means of two runs to which its trials are dealt so that they differ most; see `furthest_middles`."""
        return tuple((float(base.mean()), float(new.mean())) for base, new in self._apart)

    @property
    def _apart(self) -> Iterator[tuple[Floats, Floats]]:
        for part in (*self.parts, self) if self.pair_names else (self,):
            base, new = (side.size for side in part.sides)
            if part.clustered or part.values.size < sum(self.counts):
                counts = np.bincount(part.trials, minlength=self.trials.max() + 1)[np.unique(self.trials)]
                if np.ptp(counts) > 0:
                    base = new = 1  # how many values a run gets depends on its trials; the ends are as far apart as any
            yield part.ordered[:base], part.ordered[-new:]
            yield part.ordered[-base:], part.ordered[:new]

    @cached_property
    def outlying(self) -> Cell:
        """The cell with 1 in place of each value above twice its median, and 0 in place of the others."""
        # Of both runs together: neither is the norm.
        bound: float | Floats = OUTLYING * middle_of_sorted(self.ordered)
        if self.clustered:
            bound = np.empty(self.values.size)
            for pair in np.unique(self.pairs):
                rows = self.pairs == pair
                bound[rows] = OUTLYING * middle(self.values[rows])
        return Cell(self.name, (self.values > bound).astype(np.float64), self.trials, self.pairs, self.new)


def rank_test(cells: Sequence[Cell]) -> TwoSided:
    """Return the test over these cells; those in which a run has no trial, or nothing varies, say nothing."""
    varying = [cell for cell in cells if cell.varies and all(cell.counts)]
    if not varying:
        return NOTHING_TO_TEST
    # Those that say nothing still set the unit, so that the scores are the same whatever the values are.
    largest = max(sum(cell.counts) for cell in cells)
    part = _PART if any(cell.clustered for cell in cells) else 1
    if part == 1 and largest <= MOST_COUNTED:
        return _of_plain(varying, largest)
    scored = [_scores(cell, part, largest) for cell in varying]
    return of_scored([(scores, new) for scores, new in scored if scores.min() < scores.max()])


def _of_plain(cells: Sequence[Cell], largest: int) -> TwoSided:
    """Return the test over cells of one value a trial, none of which is large: each kind of them is looked at once."""
    kinds = Counter(cell.kind for cell in cells)
    sums = dict.fromkeys(kinds, 0)
    for cell in cells:
        sums[cell.kind] += cell.doubled_sum
    return of_kinds(kinds, sums, largest)


def _scores(cell: Cell, part: int, largest: int) -> Scored:
    """Return a whole number per trial, and which trials are the new run's."""
    ranks, new = cell.ranked
    return np.rint(part * weight_of(new.size, largest) * ranks).astype(np.int64), new


def doubled_ranks(values: Floats) -> np.ndarray:
    """Return twice the rank of each value, equal ones sharing their mean rank: whole numbers."""
    order = np.argsort(values)
    return _doubled(as_floats(values[order]), order)


def _doubled(ordered: Floats, order: np.ndarray) -> np.ndarray:
    ranks = np.empty(ordered.size, dtype=np.int64)
    differs = ordered[1:] != ordered[:-1]
    if differs.all():
        ranks[order] = np.arange(2, 2 * ordered.size + 1, 2)
        return ranks
    # Where those that are equal begin and end.
    first = np.flatnonzero(np.append(True, differs))
    last = np.append(first[1:], ordered.size)
    ranks[order] = np.repeat(first + last + 1, last - first)
    return ranks
