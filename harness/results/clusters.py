"""Estimates over pairs of members, where the pairs of one trial are not independent of each other.

With one pair a trial these are the estimates of `harness.results.statistics`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from scipy import stats

from harness.results.metrics import metric_of
from harness.results.statistics import (
    CONFIDENCE,
    FEWEST_FOR_BOOTSTRAP,
    RESAMPLES,
    Estimate,
    Floats,
    as_floats,
    censored_text,
    median,
    middle,
    proportion,
    wilson,
)


def estimate(metric: str, values: Sequence[float], trials: Sequence[Hashable]) -> Estimate:
    """Return the estimate of a metric from one value per pair; `trials` says which trial each value is of."""
    numbers = as_floats(values)
    codes = np.unique([str(trial) for trial in trials], return_inverse=True)[1] if len(trials) else np.empty(0, int)
    alone = len(set(codes)) == numbers.size
    if metric_of(metric).estimator == "proportion":
        return proportion(round(float(numbers.sum())), numbers.size) if alone else clustered_proportion(numbers, codes)
    return median(list(numbers)) if alone else clustered_median(numbers, codes)


def clustered_proportion(values: Floats, codes: np.ndarray) -> Estimate:
    """Return a success rate over pairs with the Wilson interval of its effective sample size, 95 %.

    The effective size is n over the design effect, the ratio of the variance between trials to that of independent
    pairs (Kish 1965; for Wilson's interval Franco et al. 2019), less what few trials know of that ratio (Korn and
    Graubard 1998). It lies between the number of trials and that of pairs; where all pairs agree, nothing tells how
    alike those of one trial are, and it is the number of trials.
    """
    n, rate = values.size, float(values.mean())
    sums, sizes = np.bincount(codes, values), np.bincount(codes)
    trials = sizes.size
    effective = float(trials)
    spread = rate * (1 - rate)
    if trials > 1 and spread > 0:
        between = trials / (trials - 1) * float(((sums - rate * sizes) ** 2).sum()) / n**2
        few = float((stats.norm.ppf(0.975) / stats.t.ppf(0.975, trials - 1)) ** 2)
        effective = float(np.clip(few * (spread / between if between > 0 else n), trials, n))
    low, high = wilson(rate, effective)
    return Estimate(n, rate, low, high, f"proportion of pairs; Wilson 95 % clustered by {trials} trials")


def clustered_median(values: Floats, codes: np.ndarray, seed: int = 0) -> Estimate:
    """Return the median over pairs with the percentile interval of a bootstrap that resamples whole trials, 95 %.

    With fewer than six trials it is the range of the trials' medians, with the coverage that this has; with one trial
    there is none. inf: censored.
    """
    groups = [values[codes == code] for code in range(int(codes.max()) + 1)]
    centre, trials = middle(values), len(groups)
    text = f"median of pairs{censored_text(values)}"
    if trials == 1:
        return Estimate(values.size, centre, np.nan, np.nan, f"{text}; one run, no interval")
    if trials < FEWEST_FOR_BOOTSTRAP:
        of_trials = [middle(group) for group in groups]
        coverage = 100 * (1 - 2.0 ** (1 - trials))
        method = f"{text}; range of {trials} runs' medians (covers {coverage:.0f} %)"
        return Estimate(values.size, centre, min(of_trials), max(of_trials), method)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(trials, size=(RESAMPLES, trials))
    medians = np.sort([middle(np.concatenate([groups[index] for index in row])) for row in drawn])
    tail = (1 - CONFIDENCE) / 2
    # Order statistics and no interpolation, which between a number and infinity has no meaning.
    low, high = (medians[round(share * (RESAMPLES - 1))] for share in (tail, 1 - tail))
    return Estimate(values.size, centre, float(low), float(high), f"{text}; bootstrap 95 % over {trials} runs")
