"""Estimates over pairs of members, where the pairs of one trial are not independent of each other.

With one pair a trial these are the estimates of `harness.results.statistics`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from scipy import stats

from harness.results.metrics import metric_of
from harness.results.statistics import (
    FEWEST_FOR_INTERVAL,
    Estimate,
    Floats,
    as_floats,
    censored_text,
    clopper_pearson,
    interval_text,
    median,
    medians,
    middle,
    ordered_interval,
    proportion,
    wilson,
)


def estimate(metric: str, values: Sequence[float] | Floats, trials: Sequence[Hashable]) -> Estimate:
    """Return the estimate of a metric from one value per pair; `trials` says which trial each value is of."""
    numbers = as_floats(values)
    codes = np.unique([str(trial) for trial in trials], return_inverse=True)[1] if len(trials) else np.empty(0, int)
    alone = len(set(codes)) == numbers.size
    if metric_of(metric).estimator == "proportion":
        return proportion(round(float(numbers.sum())), numbers.size) if alone else clustered_proportion(numbers, codes)
    return median(list(numbers)) if alone else clustered_median(numbers, codes)


def estimates(asked: Sequence[tuple[str, Sequence[float], Sequence[Hashable]]]) -> list[Estimate]:
    """Return the `estimate` of each (metric, values, trials); medians of one value a trial are made together."""
    alone = [
        number
        for number, (metric, values, trials) in enumerate(asked)
        if metric_of(metric).estimator != "proportion" and len(set(map(str, trials))) == len(values)
    ]
    together = dict(zip(alone, medians([list(as_floats(asked[number][1])) for number in alone]), strict=True))
    return [together[number] if number in together else estimate(*one) for number, one in enumerate(asked)]


def clustered_proportion(values: Floats, codes: np.ndarray) -> Estimate:
    """Return a success rate over pairs with the Wilson interval of its effective sample size, 95 %.

    The effective size is n over the design effect, the ratio of the variance between trials to that of independent
    pairs (Kish 1965; for Wilson's interval Franco et al. 2019), less what few trials know of that ratio (Korn and
    Graubard 1998). It lies between the number of trials and that of pairs; where all pairs agree, nothing tells how
    alike those of one trial are, and it is the number of trials.
    """
    rate, trials = float(values.mean()), int(codes.max()) + 1
    low, high = wilson(rate, effective_size(values, codes))
    return Estimate(values.size, rate, low, high, f"proportion of pairs; Wilson 95 % clustered by {trials} trials")


def exact_interval(values: Sequence[float], trials: Sequence[Hashable]) -> tuple[float, float]:
    """Return the exact 95 % interval of a success rate, from one value per pair and the trial of each.

    Of several pairs a trial it is that of the effective sample size; of fewer than six trials, which cannot tell how
    alike the pairs of one are, that is their number.
    """
    numbers, codes = as_floats(values), np.unique([str(trial) for trial in trials], return_inverse=True)[1]
    runs = int(codes.max()) + 1
    if runs in {1, numbers.size} or runs < FEWEST_FOR_INTERVAL:
        return clopper_pearson(float(numbers.mean()), runs)
    return clopper_pearson(float(numbers.mean()), effective_size(numbers, codes))


def effective_size(values: Floats, codes: np.ndarray) -> float:
    """Return to how many independent pairs those of these trials come; see `clustered_proportion`."""
    n, rate = values.size, float(values.mean())
    sums, sizes = np.bincount(codes, values), np.bincount(codes)
    trials = sizes.size
    spread = rate * (1 - rate)
    if trials == 1 or spread <= 0:
        return float(trials)
    between = trials / (trials - 1) * float(((sums - rate * sizes) ** 2).sum()) / n**2
    few = float((stats.norm.ppf(0.975) / stats.t.ppf(0.975, trials - 1)) ** 2)
    return float(np.clip(few * (spread / between if between > 0 else n), trials, n))


def clustered_median(values: Floats, codes: np.ndarray) -> Estimate:
    """Return the median over pairs with the exact interval of its trials' medians, which are independent.

    It is widened to the estimate itself where that lies outside, as it may with trials of unequal pairs. With one trial
    there is none. inf: censored. A bootstrap of whole trials would cover 86 % of seven trials, not the 95 % promised.
    """
    of_trials = as_floats([middle(values[codes == code]) for code in range(int(codes.max()) + 1)])
    centre, trials = middle(values), of_trials.size
    text = f"median of pairs{censored_text(values)}"
    if trials == 1:
        return Estimate(values.size, centre, np.nan, np.nan, f"{text}; one run, no interval")
    low, high = ordered_interval(of_trials)
    said = interval_text(trials, "runs' medians")
    return Estimate(values.size, centre, min(low, centre), max(high, centre), f"{text}; {said}")
