"""Exact tests of counts: a rate against a probability, and two rates against each other. Pure.

Two rates differ where Barnard's exact test says so (Fisher's where a sample has more than 200 runs), and a rate differs
from a probability where the exact binomial test does, at 1 % each. Where they do not differ they agree only if so many
runs could have shown a difference of 20 points, in either direction that there is, with a power of 80 %; else it cannot
be told: 3 of 3 agree with nearly everything.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import stats

from harness.results.statistics import wilson

CONFIDENCE = 0.99
# What must be seen, and how surely, for "no difference" to say anything.
DIFFERENCE, POWER = 0.2, 0.8
# Beyond so many pairs of counts the exact test takes long, and Fisher's is hardly weaker.
MOST_EXACT = 200

Agrees = Literal["agree", "differ", "cannot tell"]


@dataclass(frozen=True)
class Count:
    """Successes of so many runs."""

    successes: int
    runs: int

    @property
    def rate(self) -> float:
        """The share."""
        return self.successes / self.runs

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Wilson's."""
        return wilson(self.rate, self.runs, confidence)


@lru_cache(maxsize=65536)
def with_probability(count: Count, probability: float) -> Agrees:
    """Hold a rate against what is expected. Pure."""
    rejected, power = _binomial_test(count.runs, probability)
    if rejected[count.successes]:
        return "differ"
    return "agree" if power >= POWER else "cannot tell"


@lru_cache(maxsize=65536)
def _binomial_test(runs: int, probability: float) -> tuple[tuple[bool, ...], float]:
    """Return of each count whether the exact test rejects the probability, and its power against the nearest other."""
    seen = np.arange(runs + 1)
    mass = stats.binom.pmf(seen, runs, probability)
    order = np.argsort(mass, kind="stable")
    # Two-sided: all counts that are no likelier than the one that was seen; equal ones but for rounding are as likely.
    below = np.searchsorted(mass[order], mass * (1 + 1e-7), side="right")
    rejected = np.cumsum(mass[order])[below - 1] < 1 - CONFIDENCE
    away = [other for other in (probability - DIFFERENCE, probability + DIFFERENCE) if 0 <= other <= 1]
    power = min(float(stats.binom.pmf(seen, runs, other)[rejected].sum()) for other in away)
    return tuple(rejected.tolist()), power


FEWEST_RUNS = next(runs for runs in range(1, 100) if _binomial_test(runs, 1.0)[1] >= POWER)
"""Fewer runs tell no rate. One run that comes out otherwise contradicts a probability of 0 or 1, but only so many would
have shown a difference of 20 points from it."""


@lru_cache(maxsize=65536)
def of_two(one: Count, other: Count) -> Agrees:
    """Hold two rates against each other. Pure."""
    if _p_of_two(one.successes, one.runs, other.successes, other.runs) < 1 - CONFIDENCE:
        return "differ"
    rate = (one.successes + other.successes) / (one.runs + other.runs)
    away = [end for end in (rate - DIFFERENCE, rate + DIFFERENCE) if 0 <= end <= 1]
    few, many = sorted((one, other), key=lambda count: count.runs)
    return "agree" if min(_power(many, few.runs, end) for end in away) >= POWER else "cannot tell"


def difference(one: Count, other: Count, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the interval of how much larger the first rate is (Newcombe 1998, method 10: of Wilson's intervals)."""
    (low, high), (other_low, other_high) = one.interval(confidence), other.interval(confidence)
    between = one.rate - other.rate
    below = math.hypot(one.rate - low, other_high - other.rate)
    above = math.hypot(high - one.rate, other.rate - other_low)
    return between - below, between + above


def _p_of_two(k: int, n: int, j: int, m: int) -> float:
    table = [[k, j], [n - k, m - j]]
    if k + j in (0, n + m):
        return 1.0
    if max(n, m) > MOST_EXACT:
        return float(stats.fisher_exact(table).pvalue)
    return float(stats.barnard_exact(table, n=16).pvalue)


def _power(many: Count, runs: int, rate: float) -> float:
    """Return how surely the test finds a smaller sample of so many runs that has this rate to differ. Exact."""

    def differs(successes: int) -> bool:
        return _p_of_two(many.successes, many.runs, successes, runs) < 1 - CONFIDENCE

    # What differs lies on the two sides of what agrees most.
    alike = round(many.rate * runs)
    below = bisect_left(range(alike + 1), True, key=lambda successes: not differs(successes))
    above = bisect_left(range(alike, runs + 1), True, key=differs) + alike
    return float(stats.binom.cdf(below - 1, runs, rate) + stats.binom.sf(above - 1, runs, rate))
