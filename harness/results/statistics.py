"""Estimates with intervals. The run is the unit: every function takes one number per run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95


def range_coverage(n: int) -> float:
    """Return how surely the median lies between the smallest and the largest of n runs: no interval does better."""
    return 1 - 2.0 ** (1 - n)


# With fewer no interval for a median reaches 95 %; then that range is given, with its true coverage.
FEWEST_FOR_INTERVAL = next(n for n in range(1, 100) if range_coverage(n) >= CONFIDENCE)


@lru_cache(maxsize=4096)
def median_ranks(n: int) -> tuple[int, float]:
    """Return k, and how surely the true median lies between the k-th smallest and the k-th largest of n runs.

    The narrowest such interval that covers 95 % or more (the sign test turned round, Thompson 1936); with fewer than
    six runs their range, which covers less. It holds whatever the distribution: each run lies above the median with a
    chance of one half.
    """
    k = max(1, int(stats.binom.ppf((1 - CONFIDENCE) / 2, n, 0.5)))
    while k > 1 and 2 * stats.binom.cdf(k - 1, n, 0.5) > 1 - CONFIDENCE:
        k -= 1
    return k, float(1 - 2 * stats.binom.cdf(k - 1, n, 0.5))


@dataclass(frozen=True)
class Estimate:
    """An estimate with its interval; NaN where there is none, inf where it lies beyond the deadline of a
    time that was censored there. `method` says how it was made."""

    n: int
    value: float
    low: float
    high: float
    method: str


def proportion(successes: int, n: int) -> Estimate:
    """Return a success rate with its Wilson score interval (Wilson 1927), 95 %."""
    if n == 0:
        return Estimate(0, np.nan, np.nan, np.nan, "no runs")
    low, high = wilson(successes / n, n)
    return Estimate(n, successes / n, low, high, "proportion; Wilson 95 %")


def wilson(rate: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Wilson's score interval of a rate seen in n trials, 95 %; an effective n need not be whole."""
    z = float(stats.norm.ppf((1 + confidence) / 2))
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)))
    return (0.0 if rate == 0 else centre - half), (1.0 if rate == 1 else centre + half)


def clopper_pearson(rate: float, n: float) -> tuple[float, float]:
    """Return the exact interval of a rate seen in n trials (Clopper and Pearson 1934), 95 % at least.

    An effective n need not be whole (Korn and Graubard 1998). Wilson's interval holds on average over true rates; this
    one for each.
    """
    tail = (1 - CONFIDENCE) / 2
    seen, missed = rate * n, (1 - rate) * n
    low = 0.0 if rate == 0 else float(stats.beta.ppf(tail, seen, missed + 1))
    return low, 1.0 if rate == 1 else float(stats.beta.isf(tail, seen + 1, missed))


def runs_to_exclude(rate: float) -> int:
    """Return how many runs without one success show that successes are rarer than `rate`, by `clopper_pearson`."""
    return 1 if rate >= 1 else math.ceil(math.log((1 - CONFIDENCE) / 2) / math.log1p(-rate))


def median(values: Sequence[float] | Floats) -> Estimate:
    """Return one group's median; see `medians`."""
    array: Floats = np.asarray(values, dtype=np.float64)
    n = array.size
    if n == 0:
        return Estimate(0, np.nan, np.nan, np.nan, "no runs")
    centre = middle(array)
    if n == 1:
        return Estimate(1, centre, np.nan, np.nan, f"one run{censored_text(array)}; no interval")
    return Estimate(n, centre, *ordered_interval(array), f"median{censored_text(array)}; {interval_text(n)}")


def medians(groups: Sequence[Sequence[float] | Floats]) -> list[Estimate]:
    """Return the median of every group with the exact interval of order statistics over its runs; see `median_ranks`.

    A value of inf stands for a run that was censored: it counts as later than all others, which makes the median
    right as long as all runs share one deadline. A bootstrap of medians would promise 95 % and cover 86 to 94 % of
    six to ten runs.
    """
    return [median(group) for group in groups]


def ordered_interval(values: Floats) -> tuple[float, float]:
    """Return the interval of the median of what two or more values, some of them inf, were drawn from."""
    k, _ = median_ranks(values.size)
    ordered = np.sort(values)
    return float(ordered[k - 1]), float(ordered[-k])


def interval_text(n: int, runs: str = "runs") -> str:
    """Return which interval n runs have, and how surely it holds the median, in per cent."""
    what = "range" if n < FEWEST_FOR_INTERVAL else "order statistics"
    return f"{what} of {n} {runs} (covers {covered_text(median_ranks(n)[1])} %)"


def covered_text(coverage: float) -> str:
    """Return a coverage in per cent, never more than it is."""
    return f"{math.floor(1000 * coverage) / 10:g}" if coverage >= CONFIDENCE else f"{100 * coverage:.0f}"


def middle(values: Floats) -> float:
    """Return the median where some values may be inf: inf when the middle lies among those."""
    return middle_of_sorted(as_floats(np.sort(values)))


def middle_of_sorted(ordered: Floats) -> float:
    """Return the `middle` of values that are in order."""
    lower, upper = float(ordered[(ordered.size - 1) // 2]), float(ordered[ordered.size // 2])
    return upper if math.isinf(upper) else (lower + upper) / 2


def censored_text(values: Floats) -> str:
    """Return how many of the values are censored, in brackets, or nothing."""
    count = int(np.isinf(values).sum())
    return f" ({count} of {values.size} censored)" if count else ""


def as_floats(values: Any) -> Floats:
    """Return any column of numbers as float64, missing ones NaN."""
    return np.asarray(values, dtype=np.float64)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted by Holm's step-down correction (1979), in the order given."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return [float(value) for value in adjusted]


def simes(p_values: Sequence[float]) -> float:
    """Return P that all of these hypotheses hold (Simes 1986); 1 of none."""
    return min((len(p_values) * p / rank for rank, p in enumerate(sorted(p_values), 1)), default=1.0)
