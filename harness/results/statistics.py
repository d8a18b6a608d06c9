"""Estimates with intervals. The run is the unit: every function takes one number per run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 1999
# With five runs or fewer no interval for a median reaches 95 %: the widest, smallest to largest run, covers
# 1 - 2**(1-n), 94 % at n = 5. Then that range is given, with its true coverage.
FEWEST_FOR_BOOTSTRAP = 6
# Elements resampled at once; bounds the memory that many cells take.
_BATCH_ELEMENTS = 4_000_000


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


def median(values: Sequence[float], seed: int = 0) -> Estimate:
    """Return one group's median; see `medians`."""
    return medians([values], seed)[0]


def medians(groups: Sequence[Sequence[float]], seed: int = 0) -> list[Estimate]:
    """Return the median of every group with a 95 % percentile bootstrap interval over its runs (Efron 1979; scipy).

    A value of inf stands for a run that was censored: it counts as later than all others, which makes the median
    right as long as all runs share one deadline. Groups of equal size are resampled together, with one seed, so that
    the same records always give the same table.
    """
    arrays: list[Floats] = [np.asarray(group, dtype=np.float64) for group in groups]
    estimates: list[Estimate | None] = [_few(array) for array in arrays]
    by_size: dict[int, list[int]] = {}
    for index, estimate in enumerate(estimates):
        if estimate is None:
            by_size.setdefault(arrays[index].size, []).append(index)
    for size, indices in by_size.items():
        per_batch = max(1, _BATCH_ELEMENTS // (size * RESAMPLES))
        for start in range(0, len(indices), per_batch):
            part = indices[start : start + per_batch]
            for index, estimate in zip(part, _bootstrap(np.stack([arrays[i] for i in part]), seed), strict=True):
                estimates[index] = estimate
    return [estimate for estimate in estimates if estimate is not None]


def _few(values: Floats) -> Estimate | None:
    n = values.size
    if n == 0:
        return Estimate(0, np.nan, np.nan, np.nan, "no runs")
    centre = middle(values)
    if n == 1:
        return Estimate(1, centre, np.nan, np.nan, f"one run{censored_text(values)}; no interval")
    if n < FEWEST_FOR_BOOTSTRAP:
        coverage = 100 * (1 - 2.0 ** (1 - n))
        method = f"median{censored_text(values)}; range of {n} runs (covers {coverage:.0f} %)"
        return Estimate(n, centre, float(values.min()), float(values.max()), method)
    return None


def _bootstrap(values: Floats, seed: int) -> list[Estimate]:
    finite = np.isfinite(values)
    # Quantiles between inf and a number are undefined; a number larger than all others has the same rank and is not.
    ceiling = (np.max(values[finite]) if finite.any() else 1.0) * 1e6 + 1e6
    filled = np.where(finite, values, ceiling)
    low, high = filled.min(axis=-1), filled.max(axis=-1)
    varied = np.flatnonzero(low < high)
    if varied.size:
        result = stats.bootstrap(
            (filled[varied],),
            np.median,
            axis=-1,
            vectorized=True,
            n_resamples=RESAMPLES,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(seed),
        )
        low[varied], high[varied] = result.confidence_interval.low, result.confidence_interval.high
    # Anything above the largest observed value can only come from censored runs.
    largest = np.max(values[finite]) if finite.any() else -np.inf
    low, high = np.where(low > largest, np.inf, low), np.where(high > largest, np.inf, high)
    return [
        Estimate(row.size, middle(row), float(a), float(b), f"median{censored_text(row)}; bootstrap 95 % over runs")
        for row, a, b in zip(values, low, high, strict=True)
    ]


def middle(values: Floats) -> float:
    """Return the median where some values may be inf: inf when the middle lies among those."""
    ordered = np.sort(values)
    lower, upper = ordered[(ordered.size - 1) // 2], ordered[ordered.size // 2]
    return float(upper) if np.isinf(upper) else float((lower + upper) / 2)


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
