"""P values of sums of scores, stratified: of one score per trial, under all dealings of trials to two runs. Pure.

Most cells have one value a trial, so that their scores are ranks: what is asked of them depends on how many trials
there are and which are tied, and is counted once for each such *kind* of cell.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from harness.results.distributions import MOST_COUNTED, Mass, counted, moments, normal_mass, of_sum

# Where one run has few trials and the other very many, scores are made so coarse that counting takes no more additions.
_MOST_STEPS = 4e8
_LEAST = 1e-12  # what the fast convolution resolves

# Doubled ranks of trials, in order, and how many of these are the new run's.
Kind = tuple[tuple[int, ...], int]
# A score per trial, and which trials are the new run's.
Scored = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class TwoSided:
    """One-sided p values of "new is higher" and "new is lower", and the smallest that such data could have given."""

    higher: float
    lower: float
    least_higher: float
    least_lower: float


NOTHING_TO_TEST = TwoSided(1.0, 1.0, 1.0, 1.0)


def of_scored(useful: Sequence[Scored]) -> TwoSided:
    """Return the test over cells of which both runs have trials, and whose scores differ."""
    if not useful:
        return NOTHING_TO_TEST
    large = [_is_large(scores, new) for scores, new in useful]
    if all(large):
        return _normal(useful)
    useful = _on_a_grid(useful, large)
    masses = [
        normal_mass(scores, new) if approximate else counted(tuple(sorted(scores.tolist())), int(new.sum()))
        for (scores, new), approximate in zip(useful, large, strict=True)
    ]
    return _test(Counter(masses), sum(int(scores[new].sum()) for scores, new in useful))


@lru_cache(maxsize=8192)
def of_one(ranks: tuple[int, ...], chosen: int, doubled_sum: int) -> TwoSided:
    """Return the test of one such cell: of 10 untied trials against 10 there are 101."""
    kind = ranks, chosen
    return of_kinds({kind: 1}, {kind: doubled_sum}, len(ranks))


def of_kinds(kinds: Mapping[Kind, int], sums: Mapping[Kind, int], largest: int) -> TwoSided:
    """Return the test over so many cells of each kind, given the sums of their new runs' doubled ranks."""
    weights = {ranks: weight_of(len(ranks), largest) for ranks, _ in kinds}
    unit = math.gcd(*(weight * (rank - ranks[0]) for ranks, weight in weights.items() for rank in ranks))
    masses: dict[Mass, int] = {}
    seen = 0
    for (ranks, chosen), count in kinds.items():
        weight, least = weights[ranks], ranks[0]
        mass = counted(tuple(weight * (rank - least) // unit for rank in ranks), chosen)
        masses[mass] = masses.get(mass, 0) + count
        seen += weight * (sums[ranks, chosen] - count * chosen * least) // unit
    return _test(masses, seen)


def _test(masses: Mapping[Mass, int], seen: int) -> TwoSided:
    """Return the test by the distributions of the cells' sums, so many of each, from the sum that was seen."""
    mass = of_sum(masses)
    seen -= sum(count * one.smallest for one, count in masses.items())
    at_least, at_most = mass[max(0, seen) :].sum(), mass[: max(0, seen + 1)].sum()
    higher, lower = (min(1.0, max(float(p), _LEAST)) for p in (at_least, at_most))
    least_higher = math.prod(float(one.mass[-1]) ** count for one, count in masses.items())
    least_lower = math.prod(float(one.mass[0]) ** count for one, count in masses.items())
    return TwoSided(higher, lower, least_higher, least_lower)


def _is_large(scores: np.ndarray, new: np.ndarray) -> bool:
    """Tell whether the normal distribution does: many trials on both sides, and many beside the commonest value."""
    if new.size <= MOST_COUNTED:
        return False
    values, counts = np.unique(scores, return_counts=True)
    beside = int(scores.size - counts.max())
    return values.size > 2 and min(int(new.sum()), int((~new).sum()), beside) > MOST_COUNTED // 2


def _on_a_grid(useful: Sequence[Scored], large: Sequence[bool]) -> list[Scored]:
    """Return the scores in their common unit, from 0 on; in a coarser one where counting would take too long.

    Any scores make an exact test of permutations; coarser ones only see a little less.
    """
    shifted = [scores - scores.min() for scores, _ in useful]
    unit = int(np.gcd.reduce(np.concatenate(shifted)))
    steps = max(
        _steps_of_counting(scores, int(new.sum()), unit)
        for scores, (_, new), approximate in zip(shifted, useful, large, strict=True)
        if not approximate
    )
    coarse = unit * max(1, math.ceil(steps / _MOST_STEPS))
    on_grid = [scores // unit if coarse == unit else np.rint(scores / coarse).astype(np.int64) for scores in shifted]
    return [(scores, new) for scores, (_, new) in zip(on_grid, useful, strict=True)]


def _steps_of_counting(scores: np.ndarray, chosen: int, unit: int) -> float:
    """Return how many additions it takes to count so many scores, from 0 on; 0 for what is few at a glance."""
    if scores.size * min(chosen, scores.size - chosen) ** 2 * int(scores.max()) <= _MOST_STEPS * unit:
        return 0.0
    values, counts = np.unique(scores, return_counts=True)
    if values.size == 2:
        return 0.0
    beside = int(scores.size - counts.max())
    most = min(chosen, scores.size - chosen, beside)
    return beside * most * int(np.sort(scores)[-most:].sum()) / unit


def weight_of(trials: int, largest: int) -> int:
    """Return how much the ranks of a cell weigh: as much as those of the largest one, whatever their number."""
    return max(1, round((largest + 1) / (trials + 1)))


def _normal(useful: Sequence[Scored]) -> TwoSided:
    seen = sum(float(scores[new].sum()) for scores, new in useful)
    mean, variance = (sum(parts) for parts in zip(*(moments(*one) for one in useful), strict=True))
    z = (seen - mean) / np.sqrt(variance)
    return TwoSided(float(stats.norm.sf(z)), float(stats.norm.cdf(z)), 0.0, 0.0)
