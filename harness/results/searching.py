"""The search of many series at once for changes: which are certain over all of them. See `harness.results.trend`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from harness.results.changepoints import (
    FEWEST_SEARCHED,
    NOTHING,
    Sides,
    best_split,
    best_stretch,
    between_sessions,
    drifting,
    finite,
    in_noise,
    is_rather_a_drift,
    place_interval,
    typical_of,
)
from harness.results.changes import Change, Rule, change_of, name_cells
from harness.results.intervals import interval_of_medians, interval_of_rates
from harness.results.metrics import metric_of
from harness.results.series import Series
from harness.results.statistics import Floats, holm

# How a series' part of alpha is shared by the shapes that are looked for.
_SPLIT, _STRETCH, _DRIFT = 0.5, 0.25, 0.25


@dataclass(frozen=True)
class Found:
    """A change that is certain over all series: from `base` to `new` (sessions), at the series' point number `at`.

    `end` is the number of the first point after its level, `last` the sessions of the last level, `between` the first
    points of the change's 95 % interval.
    """

    series: Series
    kind: Literal["step", "drift"]
    change: Change
    base: list[int]
    new: list[int]
    at: int
    end: int
    last: list[int]
    between: tuple[int, int]


# P of "worse" and of "better".
_Ways = tuple[float, float]


@dataclass(frozen=True)
class _Candidate:
    """Cuts of a stretch of points, with p of "worse" and of "better" corrected for the choice of their places.

    Of two cuts these are those of the first: what got worse there is taken back at the second.
    """

    cuts: tuple[int, ...]
    worse: float
    better: float

    @property
    def p(self) -> float:
        return min(self.worse, self.better)

    @property
    def ways(self) -> tuple[_Ways, ...]:
        """Each cut's own p of worse and of better."""
        return ((self.worse, self.better), (self.better, self.worse))[: len(self.cuts)]


@dataclass(frozen=True)
class Level:
    """What a p of one direction is worth over `count` series; this one's least is `top`, which Holm has `adjusted`."""

    count: int
    top: float
    adjusted: float

    def corrected(self, p: float) -> float:
        """Return p corrected over the series: whatever is as certain as the least one was is as certain as that."""
        return min(1.0, p * self.count, self.adjusted if p <= self.top else 1.0)


@dataclass(frozen=True)
class Levels:
    """Those of both directions, each of which has a share of alpha."""

    worse: Level
    better: Level
    share: float

    def corrected(self, ways: _Ways) -> _Ways:
        """Return p of worse and of better, each corrected over the series."""
        return self.worse.corrected(ways[0]), self.better.corrected(ways[1])

    def allow(self, ways: _Ways) -> bool:
        """Tell whether a change is certain in some direction."""
        return min(self.corrected(ways)) <= self.share


def search(series: Sequence[Series], rule: Rule) -> tuple[list[Found], int]:
    """Return all changes that are certain, and how many series could not have shown any."""
    share = rule.alpha / 2  # of each direction
    testable = [_Search(one, rule) for one in series if _can_show(one, share)]
    tops = [(*one.shapes(0, one.size), one.drift()) for one in testable]
    ways = [[min((getattr(c, way) for c in top), default=1.0) for top in tops] for way in ("worse", "better")]
    corrected = [holm(ps) for ps in ways]
    found: list[Found] = []
    for number, one in enumerate(testable):
        if min(of_way[number] for of_way in corrected) > share:
            continue
        worse, better = (Level(len(testable), p[number], c[number]) for p, c in zip(ways, corrected, strict=True))
        found += one.found(Levels(worse, better, share))
    return found, len(series) - len(testable)


def _can_show(series: Series, share: float) -> bool:
    """Tell whether some split of so many trials could be certain: as many in each cell, wholly apart."""
    if all(np.ptp(finite(cell.values[:, None])) == 0 for cell in series.cells):
        return False
    points = series.measured
    least = 1.0
    # The more even the parts, the more a split of them can show.
    for cut in {max(1, len(points) * quarter // 4) for quarter in (1, 2, 3)}:
        base, new = _sessions(series, points[:cut]), _sessions(series, points[cut:])
        sizes = [cell.sizes(base, new) for cell in series.cells]
        apart = sum(math.log(math.comb(n + m, m)) for n, m in sizes)
        least = min(least, math.exp(-apart) * (len(points) - 1) / _SPLIT)
    return least <= share


def _sessions(series: Series, points: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.isin(series.axis.sessions, points))


class _Search:
    """One series under search; its points are numbered as they were measured."""

    def __init__(self, series: Series, rule: Rule) -> None:
        self.series, self.rule = series, rule
        self.size = len(series.measured)
        self._matrix = finite(series.matrix)
        by_point = [self._matrix[_sessions(series, np.asarray([point]))] for point in series.measured]
        with np.errstate(all="ignore"):
            rows = [np.where(np.isnan(part).all(axis=0), np.nan, _mean(part)) for part in by_point]
        self._signal = in_noise(np.stack(rows))
        self._lower_is_better = metric_of(series.metric, series.unit).better == "lower"

    def sessions(self, first: int, end: int) -> np.ndarray:
        """Return the sessions of some points."""
        return _sessions(self.series, self.series.measured[first:end])

    def shapes(self, first: int, end: int) -> list[_Candidate]:
        """Return the best change, and the best one that is taken back, of a stretch of points."""
        count, signal = end - first, self._signal[first:end]
        found = []
        if count > 1 and np.ptp(signal, axis=0).any():
            cut = first + best_split(signal)
            base, new = self.sessions(first, cut), self.sessions(cut, end)
            found.append(self._candidate((cut,), base, new, (count - 1) / _SPLIT))
            inner = best_stretch(signal)
            if inner is not None:
                low, high = (first + place for place in inner)
                outer = np.concatenate([self.sessions(first, low), self.sessions(high, end)])
                choices = count * (count - 1) / 2 / _STRETCH
                found.append(self._candidate((low, high), outer, self.sessions(low, high), choices))
        return found

    def drift(self) -> _Candidate:
        """Return the drift over all points, which has no cuts."""
        sides = drifting(self._matrix, mean=self.series.is_rate).times(1 / _DRIFT)
        return _Candidate((), *self._ways(sides))

    def found(self, levels: Levels) -> list[Found]:
        """Return the changes of a series that has one: a drift, or all steps that are certain at these levels."""
        steps = self._steps(0, self.size, levels)
        drift = self.drift()
        if levels.allow((drift.worse, drift.better)) and self._is_rather_a_drift(sorted(steps)):
            third = max(1, self.size // 3)
            base, new = self.sessions(0, third), self.sessions(self.size - third, self.size)
            change = self._change(base, new, (drift.worse, drift.better), levels)
            ends = (1, self.size - 1)
            return [Found(self.series, "drift", change, base.tolist(), new.tolist(), 1, self.size, new.tolist(), ends)]
        ends_of = [0, *sorted(steps), self.size]
        last = self.sessions(ends_of[-2], self.size).tolist()
        found = []
        for (first, at), (_, end) in pairwise(pairwise(ends_of)):
            base, new = self.sessions(first, at), self.sessions(at, end)
            low, high = place_interval(self._signal[first:end], at - first)
            between = (first + low, first + high)
            change = self._change(base, new, steps[at], levels)
            found.append(Found(self.series, "step", change, base.tolist(), new.tolist(), at, end, last, between))
        return found

    def _steps(self, first: int, end: int, levels: Levels) -> dict[int, _Ways]:
        """Return the cuts of a stretch with their p, and those of the parts that they leave."""
        if end - first < (2 if end - first == self.size else FEWEST_SEARCHED):
            return {}
        best = min(self.shapes(first, end), key=lambda one: one.p, default=None)
        if best is None or not levels.allow((best.worse, best.better)):
            return {}
        found = dict(zip(best.cuts, best.ways, strict=True))
        for low, high in pairwise([first, *best.cuts, end]):
            found |= self._steps(low, high, levels)
        return found

    def _candidate(self, cuts: tuple[int, ...], base: np.ndarray, new: np.ndarray, choices: float) -> _Candidate:
        sample = self.series.sample(base, new)
        if sample is None:
            return _Candidate(cuts, 1.0, 1.0)
        change = change_of(sample, self.rule)
        trials = Sides(change.p_worse, change.p_better)
        worse, better = self._ways(between_sessions(self._matrix, base, new, mean=self.series.is_rate))
        both = trials.at_least(Sides(worse, better)).times(choices)
        return _Candidate(cuts, both.higher, both.lower)

    def _ways(self, sides: Sides) -> tuple[float, float]:
        """Return p of worse and of better."""
        return (sides.higher, sides.lower) if self._lower_is_better else (sides.lower, sides.higher)

    def _is_rather_a_drift(self, cuts: list[int]) -> bool:
        """Judge by the typical cell, or, where that is not what drifts, by the cell that does most."""
        mean = self.series.is_rate
        columns = [typical_of(self._matrix, mean=mean), *self._matrix.T]
        told = [drifting(np.asarray(column)[:, None], mean=mean) for column in columns]
        best = int(np.argmin([min(one.higher, one.lower) for one in told])) if told else 0
        points = np.asarray(self.series.axis.sessions)
        rows = [int(np.flatnonzero(points >= self.series.measured[cut])[0]) for cut in cuts]
        return told[best] != NOTHING and is_rather_a_drift(np.asarray(columns[best]), rows)

    def _change(self, base: np.ndarray, new: np.ndarray, ways: _Ways, levels: Levels) -> Change:
        """Return what changed between two levels, with its verdict; that it is certain has been shown.

        Each direction that is certain is judged by itself, the worse one first.
        """
        sample = self.series.sample(base, new)
        assert sample is not None  # a level without any cell of its neighbour was no candidate
        low, high = interval_of_rates(sample) if self.series.is_rate else interval_of_medians(sample)
        change = replace(change_of(sample, self.rule), low=low, high=high)
        corrected = levels.corrected(ways)
        # Both directions share alpha, so that what is certain stands at alpha or below.
        shown = [min(1.0, p * self.rule.alpha / levels.share) for p in corrected]
        for worse, p, said in zip((True, False), corrected, shown, strict=True):
            named = name_cells(change, self.rule.alpha / 4, worse=worse)
            found = replace(change, named=named, p_corrected=said)
            if p <= levels.share and found.matters_for(worse=worse):
                return replace(found, verdict="regression" if worse else "improvement")
        return replace(change, p_corrected=min(shown), verdict="too small to matter")


def _mean(part: Floats) -> Floats:
    return np.asarray([np.nan if np.isnan(column).all() else np.nanmean(column) for column in part.T])
