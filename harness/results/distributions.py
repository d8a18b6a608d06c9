"""The distribution of a sum of scores over all dealings of trials to two runs: counted, not approximated.

The shift algorithm of Streitberg and Roehmel (1986): P values far out are right, which a correction for many tests
needs. `normal_mass` is for cells in which both runs have so many trials that counting would take too long.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft, stats

from harness.results.statistics import Floats, as_floats

# Up to so many trials in a cell all is counted. Beyond, the normal distribution does where each run has more than half
# as many, and so many are beside the commonest value; what has two values is counted whatever its size.
MOST_COUNTED = 80
# Values, of a sum that is kept.
_MOST_KEPT = 100_000
# Standard deviations to either side within which a normal distribution is tabulated.
_REACH = 10


@dataclass(frozen=True, eq=False)
class Mass:
    """A distribution of whole numbers: the smallest, and the mass from there on. Equal where it is the same object."""

    smallest: int
    mass: Floats


def of_sum(masses: Mapping[Mass, int]) -> Floats:
    """Return the distribution of the sum of so many of each; equal ones, which untied cells of one size have, are
    transformed once."""
    if sum(masses.values()) == 1:
        return next(iter(masses)).mass
    counts = tuple(masses.items())
    size = sum(count * one.mass.size for one, count in counts)
    return _of_sum(counts) if size <= _MOST_KEPT else _of_sum.__wrapped__(counts)


# All metrics of a subject have the same, but for ties. Large ones, of clustered cells, are never asked for twice.
@lru_cache(maxsize=64)
def _of_sum(counts: tuple[tuple[Mass, int], ...]) -> Floats:
    length = fft.next_fast_len(sum(count * (one.mass.size - 1) for one, count in counts) + 1, real=True)
    product = np.ones(length // 2 + 1, dtype=np.complex128)
    for one, count in counts:
        product *= fft.rfft(one.mass, length) ** count
    return as_floats(np.clip(fft.irfft(product, length), 0.0, None))


def counted(scores: tuple[int, ...], chosen: int) -> Mass:
    """Return the distribution of the sum of so many of the scores (sorted); kept for what is likely asked again."""
    return _kept(scores, chosen) if len(scores) <= MOST_COUNTED else _mass(scores, chosen)


def _mass(scores: tuple[int, ...], chosen: int) -> Mass:
    if 2 * chosen > len(scores):
        rest = _mass(scores, len(scores) - chosen)
        return Mass(sum(scores) - rest.smallest - rest.mass.size + 1, as_floats(rest.mass[::-1]))
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
    return Mass(int(origin + nonzero[0]), as_floats(mass[nonzero[0] : nonzero[-1] + 1]))


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


def normal_mass(scores: np.ndarray, new: np.ndarray) -> Mass:
    """Return the normal distribution of a large cell's sum, on the grid of the others."""
    mean, variance = moments(scores, new)
    reach = _REACH * math.sqrt(variance)
    grid = np.arange(math.floor(mean - reach), math.ceil(mean + reach) + 1)
    edges = (np.append(grid, grid[-1] + 1) - 0.5 - mean) / math.sqrt(variance)
    return Mass(int(grid[0]), as_floats(np.diff(stats.norm.cdf(edges))))


def moments(scores: np.ndarray, new: np.ndarray) -> tuple[float, float]:
    n, m = new.size, int(new.sum())
    return m * float(scores.mean()), m * (n - m) / n * float(scores.var(ddof=1))
