"""How much one metric of one subject changed between two runs, with effect size and p values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from harness.results.declared import Metric
from harness.results.metrics import metric_of
from harness.results.pairing import Paired
from harness.results.statistics import Estimate, Floats, median, middle, proportion

Verdict = Literal[
    "regression", "improvement", "machine moved", "too small to matter", "no difference found", "undecided"
]


@dataclass(frozen=True)
class Rule:
    """When a change counts: `alpha` after correction; `min_effect` as a share of the baseline (of 1 for rates),
    None: each metric's own."""

    alpha: float = 0.05
    min_effect: float | None = None


@dataclass(frozen=True)
class Change:
    """One subject's change in one metric. `change` is new minus base, median over pairs (difference of rates for
    successes), with its 95 % interval; `delta` is Cliff's delta within blocks, +1: every new value is worse."""

    subject: str
    metric: str
    unit: str
    pairs: int
    base: float
    new: float
    change: float
    low: float
    high: float
    delta: float
    p_worse: float
    p_better: float
    threshold: float
    verdict: Verdict
    p_corrected: float = np.nan


def change_of(pair: Paired, rule: Rule) -> Change:
    """The change in one subject's metric, its verdict still open."""
    metric = metric_of(pair.metric, pair.unit)
    worse = 1.0 if metric.better == "lower" else -1.0
    steps = _steps(pair.base, pair.new)
    if metric.estimator == "proportion":
        estimates = [proportion(round(float(side.sum())), side.size) for side in (pair.base, pair.new)]
        base, new = estimates[0].value, estimates[1].value
        change, (low, high) = new - base, newcombe(*estimates)
    else:
        base, new = middle(pair.base), middle(pair.new)
        estimate = median(list(np.clip(steps, -1e9, 1e9)))
        change, low, high = estimate.value, estimate.low, estimate.high
    return Change(
        subject=" ".join(part for part in dict.fromkeys(pair.subject) if part not in {"", "{}"}),
        metric=pair.metric,
        unit=pair.unit,
        pairs=pair.base.size,
        base=base,
        new=new,
        change=change,
        low=low,
        high=high,
        delta=worse * _cliff(pair),
        p_worse=_p_value(worse * steps, metric),
        p_better=_p_value(-worse * steps, metric),
        threshold=_threshold(metric, base, rule),
        verdict="no difference found",
    )


def _steps(base: Floats, new: Floats) -> Floats:
    """New minus base per pair; both censored: no difference; one censored: larger than any other."""
    with np.errstate(invalid="ignore"):
        steps = new - base
    return np.where(np.isnan(steps), 0.0, steps)


def _p_value(worse: Floats, metric: Metric) -> float:
    """One-sided p of "worse" for paired steps (positive: worse)."""
    moved = worse[worse != 0]
    if not moved.size:
        return 1.0
    if metric.estimator == "proportion":
        return float(stats.binomtest(int((moved > 0).sum()), moved.size, alternative="greater").pvalue)
    finite = np.abs(moved[np.isfinite(moved)])
    ceiling = 2 * (finite.max() if finite.size else 1.0)
    return float(stats.wilcoxon(np.clip(moved, -ceiling, ceiling), alternative="greater").pvalue)


def _cliff(pair: Paired) -> float:
    """Cliff's delta within blocks, pooled: share of (base, new) pairs of values of one block where new is higher,
    minus the share where it is lower."""
    blocks: dict[str, list[int]] = {}
    for index, block in enumerate(pair.blocks):
        blocks.setdefault(block, []).append(index)
    signs, count = 0.0, 0
    for indices in blocks.values():
        difference = _steps(pair.base[indices][:, None], pair.new[indices][None, :])
        signs += float(np.sign(difference).sum())
        count += difference.size
    return signs / count if count else 0.0


def newcombe(base: Estimate, new: Estimate) -> tuple[float, float]:
    """Interval of a difference of two rates from their Wilson intervals (Newcombe 1998, method 10)."""
    low = np.hypot(new.value - new.low, base.high - base.value)
    high = np.hypot(new.high - new.value, base.value - base.low)
    return new.value - base.value - float(low), new.value - base.value + float(high)


def _threshold(metric: Metric, base: float, rule: Rule) -> float:
    share = metric.min_effect if rule.min_effect is None else rule.min_effect
    scale = 1.0 if metric.estimator == "proportion" else abs(base) if np.isfinite(base) else 0.0
    return max(share * scale, metric.min_absolute)


def smallest_p(change: Change) -> float:
    """The smallest one-sided p that so many pairs can give: all of them worse, none tied."""
    return float(0.5**change.pairs)
