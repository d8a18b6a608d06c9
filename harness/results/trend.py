"""What changed over a history of versions or commits: when, by how much, with what certainty.

Two versions to five are compared, all before each with all from it on, and each with the next, by the tests of two runs
(`harness.results.compare`) and by their sessions: where a point was measured in one alone, nothing tells how far two of
one point differ, and no change is certain. The sessions are corrected over all series whose sessions vary by enough to
matter.

From six points on each series is searched for changes (`harness.results.changepoints`). A change is then certain when
both say so: the trials, by the exact rank test of two runs before against after it, and the sessions, by Student's t.
Both are corrected for all places where it might have been found (Bonferroni), and over all series of the history
(Holm), half of alpha for each direction. A drift is tested over the sessions alone.

As between two runs, a regression must exceed the metric's smallest effect and be more than the machine's own shift.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from harness.results.changepoints import between_sessions, finite
from harness.results.changes import Change, Rule, change_of, reaches, threshold_of
from harness.results.compare import compare_samples, with_interval
from harness.results.history import History, series_of, shown_point
from harness.results.metrics import METRICS, metric_of
from harness.results.searching import Found, search
from harness.results.series import Axis, Series
from harness.results.session import Shift, shift_between, unless_the_machine

# With fewer points sessions are too few to tell their own spread.
FEWEST_SEARCHED_POINTS = 6
FindingKind = Literal["step", "drift"]
# Of few points: the share of alpha of all before against all after, the rest is that of each against the next.
_SPLITS = 0.6
_CALLED = frozenset({"regression", "improvement", "machine moved", "too small to matter"})


@dataclass(frozen=True)
class Finding:
    """One change in one series.

    `before` is the last point without it and `at` the first with it; of a drift they are the first and the last point.
    `between`: the points between which it lies with 95 %. `alone`: one point shows it, and no second has confirmed it.
    `standing`: what was lost is not regained since. `too_few_runs`: the trials are certain of it, and its points have
    too few runs to tell whether two runs of one point differ as much.
    """

    change: Change
    kind: FindingKind
    axis: Axis
    machine: str
    before: str
    at: str
    between: tuple[str, str]
    alone: bool = False
    standing: bool = True
    series: Series | None = None
    too_few_runs: bool = False


@dataclass(frozen=True)
class Trend:
    """All that was found, worst news first; `judged` counts the series, `silent` those that could not have shown any.

    `single`: overlays with one point, which have no history yet.
    """

    history: History
    rule: Rule
    series: tuple[Series, ...]
    findings: tuple[Finding, ...]
    judged: int
    silent: int
    single: tuple[str, ...]

    @cached_property
    def regressions(self) -> list[Finding]:
        """The regressions that still stand."""
        return [one for one in self.findings if one.change.verdict == "regression" and one.standing]

    def regressions_since(self, point: str) -> list[Finding]:
        """Return the standing regressions that began after a point, by its name or the beginning of it."""
        return [one for one in self.regressions if one.axis.points.index(one.at) > place_of(one.axis, point)]


def place_of(axis: Axis, point: str) -> int:
    """Return the place of a point in an axis by its name or the beginning of it; -1 where it is none of its points."""
    shown = shown_point(point)
    if shown in axis.points:
        return axis.points.index(shown)
    return next((number for number, name in enumerate(axis.points) if name.startswith(shown)), -1)


def trend(history: History, rule: Rule | None = None) -> Trend:
    """Search a history for changes. Alpha is shared by its axes."""
    rule = rule or Rule()
    axes = [axis for axis in history.axes if len(axis.points) > 1]
    own = Rule(rule.alpha / max(1, len(axes)), rule.min_effect)
    all_series: list[Series] = []
    findings: list[Finding] = []
    judged = silent = 0
    for axis in axes:
        series = [one for one in series_of(history, axis) if len(one.measured) > 1]
        found, count, mute = judge(series, axis, own, _Machine(history, axis).judged)
        # Each axis had its share of alpha; what is shown is to be compared with the whole.
        findings += [_in_terms_of(rule.alpha / own.alpha, one) for one in found]
        all_series += series
        judged, silent = judged + count, silent + mute
    single = tuple(name for axis in history.axes if len(axis.points) == 1 for name in axis.overlays)
    return Trend(history, rule, tuple(all_series), tuple(sorted(findings, key=_news)), judged, silent, single)


# Returns a change as it is to be called, given the sessions before and after it, which tell of the machine's own shift.
Explained = Callable[[Change, Sequence[int], Sequence[int]], Change]


def judge(
    series: Sequence[Series], axis: Axis, rule: Rule, explained: Explained = lambda change, _base, _new: change
) -> tuple[list[Finding], int, int]:
    """Return what changed in an axis' series, how many were judged, and how many could not have shown any change."""
    if len(axis.points) < FEWEST_SEARCHED_POINTS:
        return _compared(series, axis, rule, explained)
    found, silent = search(series, rule)
    return [_finding(one, axis, rule, explained) for one in found], len(series), silent


def _in_terms_of(factor: float, finding: Finding) -> Finding:
    corrected = min(1.0, finding.change.p_corrected * factor)
    return replace(finding, change=replace(finding.change, p_corrected=corrected))


def _news(finding: Finding) -> tuple[int, bool, str, int, str, int]:
    order = ("regression", "improvement", "worse, not yet certain", "machine moved", "too small to matter")
    change = finding.change
    rank = order.index(change.verdict) if change.verdict in order else len(order)
    place = finding.axis.points.index(finding.at)
    return rank, not finding.standing, change.subject, list(METRICS).index(change.metric), change.phase, place


class _Machine:
    """How far the machine's own shift between sessions explains a change."""

    def __init__(self, history: History, axis: Axis) -> None:
        self._history, self._axis = history, axis
        self._known: dict[tuple[tuple[int, ...], tuple[int, ...]], Shift] = {}

    def judged(self, change: Change, base: Sequence[int], new: Sequence[int]) -> Change:
        """Return the change, no longer called one where the machine explains it."""
        if change.verdict not in {"regression", "improvement"}:
            return change
        key = tuple(base), tuple(new)
        if key not in self._known:
            self._known[key] = shift_between(self._records(base), self._records(new), links_changed=False)
        return unless_the_machine(change, self._known[key])

    def _records(self, sessions: Sequence[int]) -> pd.DataFrame:
        """Return what all overlays measured in these sessions' folders, the trials of each folder apart."""
        parts = []
        for folder in dict.fromkeys(self._axis.folders[session] for session in sessions):
            records = self._history.runs[folder].records
            parts.append(records.assign(trial=f"{folder} " + records["trial"].astype(str)))
        return pd.concat(parts, ignore_index=True)


def _compared(series: Sequence[Series], axis: Axis, rule: Rule, explained: Explained) -> tuple[list[Finding], int, int]:
    """Compare all points before each with all from it on, and each with the next, by the tests of two runs."""
    found: dict[int, list[tuple[bool, Finding]]] = {}
    judged: set[int] = set()
    for places, share in _groups(len(axis.points)):
        (first, at), (_, end) = places
        base, new = axis.sessions_of(first, at), axis.sessions_of(at, end)
        drawn = [(one, sample) for one in series if (sample := one.sample(base, new)) is not None]
        samples = [sample for _, sample in drawn]
        own = replace(rule, alpha=rule.alpha * share)
        could = [_sessions_could_differ(one, base, new, rule) for one, _ in drawn]
        changes = compare_samples(samples, own, together=False)
        for (mine, sample), change, tested in zip(drawn, changes, could, strict=True):
            if change.verdict != "undecided":
                judged.add(id(mine))
            if change.verdict not in _CALLED and change.verdict != "worse, not yet certain":
                continue
            told = explained(with_interval(change, [sample]), base.tolist(), new.tolist())
            told, few = _unless_sessions_differ(told, mine, base, new, own.alpha / sum(could) if tested else 0.0)
            told = replace(told, p_corrected=min(1.0, told.p_corrected / share))
            names = axis.points[at - 1], axis.points[at]
            last = axis.sessions_of(len(axis.points) - 1, len(axis.points))
            alone = at == len(axis.points) - 1
            standing = alone or _still_worse(told, mine, base, last, rule)
            one = Finding(told, "step", axis, mine.machine, *names, names, alone, standing, mine, few)
            found.setdefault(id(mine), []).append((end - first == 2, one))
    chosen = [one for of_series in found.values() for one in _told_apart(of_series)]
    return chosen, len(series), len(series) - len(judged)


def _groups(points: int) -> list[tuple[tuple[tuple[int, int], tuple[int, int]], float]]:
    """Return which points are compared with which (first and end of both groups), each with its share of alpha."""
    if points == 2:
        return [(((0, 1), (1, 2)), 1.0)]
    each = 1 / (points - 1)
    splits = [(((0, at), (at, points)), _SPLITS * each) for at in range(1, points)]
    return splits + [(((at - 1, at), (at, at + 1)), (1 - _SPLITS) * each) for at in range(1, points)]


def _told_apart(findings: Sequence[tuple[bool, Finding]]) -> list[Finding]:
    """Return a series' findings without those that tell of the same change; True: of a point against the one before it.

    Where all points before and after tell of a change, those beside its place do as well: of these the most certain
    alone is told. A point against the one before it stands for itself. What is not certain is told where nothing is.
    """
    ordered = sorted(findings, key=lambda one: one[1].change.p_corrected)
    certain = [(beside, one) for beside, one in ordered if one.change.verdict in _CALLED]
    if not certain:
        return [one for _, one in ordered[:1]]
    kept = [certain[0][1]]
    for beside, one in certain[1:]:
        if beside and one.at not in {other.at for other in kept}:
            kept.append(one)
    return kept


def _unless_sessions_differ(
    change: Change, series: Series, base: np.ndarray, new: np.ndarray, alpha: float
) -> tuple[Change, bool]:
    """Return the change, not yet certain unless sessions confirm it, and whether there are too few of them to tell.

    They confirm it in its own direction, by a P up to half of `alpha` (0: they are no test). Of points with one
    session each nothing tells how far two sessions of the same point lie apart.
    """
    if change.verdict not in {"regression", "improvement"}:
        return change, False
    points = Counter(series.axis.sessions[session] for session in (*base, *new))
    few = min(points.values()) < 2
    worse = change.verdict == "regression"
    sides = between_sessions(finite(series.matrix), base, new, mean=series.is_rate)
    p = sides.higher if change.goes(1.0, worse=worse) else sides.lower
    if not few and alpha > 0 and p <= alpha / 2:
        return change, False
    return replace(change, verdict="worse, not yet certain" if worse else "better, not yet certain"), few


def _sessions_could_differ(series: Series, base: np.ndarray, new: np.ndarray, rule: Rule) -> bool:
    """Tell whether these sessions, all their variance that between the groups, would differ by as much as matters.

    Under "no difference" Student's t is independent of that variance (Basu 1955), so that where they could not there
    is no test to correct for.
    """
    metric = metric_of(series.metric, series.unit)
    matrix = finite(series.matrix)
    for column in matrix.T:
        sides = [column[side][~np.isnan(column[side])] for side in (base, new)]
        known, sizes = np.concatenate(sides), [side.size for side in sides]
        if known.size > 1 and all(sizes):
            most = math.sqrt(float(((known - known.mean()) ** 2).sum()) * sum(1 / size for size in sizes))
            if most > 0 and reaches(most, threshold_of(metric, float(np.abs(known).min()), rule)):
                return True
    return False


def _still_worse(lost: Change, series: Series, base: Sequence[int] | np.ndarray, last: np.ndarray, rule: Rule) -> bool:
    """Tell whether the last sessions are worse than these by enough to matter, typically or in a cell that was lost."""
    sample = series.sample(np.asarray(base), last)
    return sample is None or replace(change_of(sample, rule), named=lost.named).matters_for(worse=True)


def _finding(found: Found, axis: Axis, rule: Rule, explained: Explained) -> Finding:
    series = found.series
    points = [axis.points[place] for place in series.measured]
    change = explained(found.change, found.base, found.new)
    if found.kind == "drift":
        ends = points[0], points[-1]
        return Finding(change, "drift", axis, series.machine, *ends, ends, series=series)
    low, high = found.between
    last = np.asarray(found.last)
    standing = found.end == len(points) or _still_worse(change, series, found.base, last, rule)
    return Finding(
        change,
        "step",
        axis,
        series.machine,
        points[found.at - 1],
        points[found.at],
        (points[low - 1], points[high]),
        alone=found.at == len(points) - 1 or found.at == 1,
        standing=standing,
        series=series,
    )
