"""Numbers that a scenario expects, judged with the intervals of what was measured. Pure; no run, no file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from harness.model.expectation import ExpectedNumber
from harness.model.words import VERDICTS
from harness.results.clusters import estimate
from harness.results.expectations import Expected
from harness.results.metrics import TRIAL_SUCCESS, is_of_a_path, metric_of
from harness.results.numbers import plain
from harness.results.paths import over_ways, paths_of
from harness.results.record import COUNTED
from harness.results.statistics import Estimate

# *not decided*: the interval reaches over the bound; more repeats would tell.
Judgement = Literal["met", "not met", "not decided", "not measured"]

# The path of what is a whole trial's whose pairs have different paths.
_SEVERAL = "several paths"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Judged:
    """A bound, and what came of it in one cell, on one path, in one phase.

    `path` is empty where pairs of all paths are judged together, `phase` where there is no timeline. `silent` counts
    the cell's trials of which nothing was measured, on any path: those that failed before, say.
    """

    cell: str
    bound: ExpectedNumber
    found: Estimate
    judgement: Judgement
    path: str = ""
    phase: str = ""
    silent: int = 0

    @property
    def is_broken(self) -> bool:
        """Whether a run must fail for it."""
        return self.judgement in {"not met", "not measured"}

    @property
    def text(self) -> str:
        """One sentence with bound, estimate, interval and n."""
        bound, metric = self.bound, metric_of(self.bound.metric)
        unit = "" if metric.unit == "1" else f" {metric.unit}"
        sides = [f"at least {bound.min:g}{unit}"] if bound.min is not None else []
        sides += [f"at most {bound.max:g}{unit}"] if bound.max is not None else []
        where = "".join(f", {part}" for part in (self.path, self.phase) if part)
        wanted = f"{self.cell}{where}: expected {bound.metric} {' and '.join(sides)}"
        if self.judgement == "not measured":
            return f"{wanted}, it was never measured"
        if not self.found.n:
            return f"{wanted}, no pair took that path"
        low, high = (number(end) for end in (self.found.low, self.found.high))
        interval = f"{low} to {high}; " if not math.isnan(self.found.low) else ""
        silent = f"; nothing of {self.silent} more trials" if self.silent else ""
        value = f"{number(self.found.value)}{unit if math.isfinite(self.found.value) else ''}"
        return f"{wanted}, it was {value} ({interval}{self.found.method}; n = {self.found.n}{silent})"


def judge_cells(expected: Iterable[Expected], by_trial: Mapping[str, Sequence[Row]]) -> list[Judged]:
    """Judge all numbers that are expected of a run's trials, cell by cell.

    Args:
        expected: of every planned trial; one that was never run does not count.
        by_trial: all records of each trial that was.
    """
    cells: dict[str, dict[ExpectedNumber, list[Row]]] = {}
    for one in expected:
        rows = by_trial.get(one.trial, ())
        # What an overlay cannot do at all is judged by its outcome.
        if rows and rows[-1]["outcome"] != "unsupported":
            for bound in one.numbers:
                cells.setdefault(one.cell_id, {}).setdefault(bound, []).extend(rows)
    return [
        judged
        for cell, bounds in cells.items()
        for bound, rows in bounds.items()
        for judged in judge(rows, bound, cell)
    ]


def judge(rows: Sequence[Row], bound: ExpectedNumber, cell: str = "") -> list[Judged]:
    """Judge a bound on the records of one cell (all its repeats, all pairs of members).

    The estimate is that of summary.csv: pairs are the unit, trials the cluster; what was censored is beyond every bound
    from above. Each path and phase is judged by itself: a median over direct and relayed pairs lies where no pair is.
    Successes and the path probe's times are of all paths, unless the bound names some. The metric `trial_success` is
    made of outcomes.
    """
    parts = _parts(rows, bound)
    order: dict[str, int] = {path: number for number, path in enumerate(VERDICTS)}
    keys = sorted(parts, key=lambda key: (order.get(key[0], len(order)), key[1]))
    if not keys and bound.path and values_of(bound.metric, rows)[0]:
        return [Judged(cell, bound, estimate(bound.metric, [], []), "not decided", " or ".join(bound.path))]
    spoke = set(values_of(bound.metric, rows)[1])
    silent = len({row["trial"] for row in rows if row["outcome"] in COUNTED} - spoke)
    found = [_judged(cell, bound, parts[key], *key) for key in keys] or [_judged(cell, bound, [], "", "")]
    return [replace(one, silent=silent) for one in found]


def _parts(rows: Sequence[Row], bound: ExpectedNumber) -> dict[tuple[str, str], list[Row]]:
    """Return the rows that tell of the metric, by path and phase."""
    told_apart = bool(bound.path) or is_of_a_path(bound.metric)
    by_trial: dict[str, list[Row]] = {}
    for row in rows:
        by_trial.setdefault(row["trial"], []).append(row)
    parts: dict[tuple[str, str], list[Row]] = {}
    for of_trial in by_trial.values():
        path_of = _paths(of_trial)
        for row in of_trial:
            if row["metric"] == bound.metric or (bound.metric == TRIAL_SUCCESS and _ends(row)):
                ends = frozenset((row["src"], row["dst"]))
                path = path_of.get(ends, path_of[_WHOLE])
                if not bound.path or path in bound.path:
                    key = (path if told_apart else "", row["phase"] or "")
                    parts.setdefault(key, []).append(row)
    return {key: part for key, part in parts.items() if values_of(bound.metric, part)[0]}


_WHOLE: frozenset[Any] = frozenset({None})


def _paths(rows: Sequence[Row]) -> dict[frozenset[Any], str]:
    """Return the path of each pair of a trial, both ways alike, and of the trial as a whole."""
    found = paths_of(rows).paths
    words = set(found.values())
    whole = words.pop() if len(words) == 1 else _SEVERAL if words else ""
    return {frozenset(pair): path for pair, path in found.items()} | {_WHOLE: whole}


def _judged(cell: str, bound: ExpectedNumber, rows: Sequence[Row], path: str, phase: str) -> Judged:
    values, trials = values_of(bound.metric, rows)
    found = estimate(bound.metric, values, trials)
    return Judged(cell, bound, found, _judgement(bound, found), path, phase)


def _judgement(bound: ExpectedNumber, found: Estimate) -> Judgement:
    if not found.n:
        return "not measured"
    least = -math.inf if bound.min is None else bound.min
    most = math.inf if bound.max is None else bound.max
    # One run has no interval: its value decides, and the text says so.
    low = found.value if math.isnan(found.low) else found.low
    high = found.value if math.isnan(found.high) else found.high
    if metric_of(bound.metric).estimator == "proportion":
        # No sample shows that a rate is 1; "at least 1" asks that none failed, and "at most 0" that none succeeded.
        low = found.value if least >= 1 else low
        high = found.value if most <= 0 else high
    never = bound.max is not None  # what lies beyond the deadline is more than any bound
    if high < least or low > most or (never and math.isinf(low)):
        return "not met"
    return "met" if low >= least and high <= most and not (never and math.isinf(high)) else "not decided"


def figures_of(rows: Sequence[Row]) -> dict[str, float]:
    """Return the estimate of each metric over one cell's repeats, `metric [path]` where paths are told apart."""
    found = {}
    for metric in dict.fromkeys(row["metric"] for row in rows):
        parts = _parts(rows, ExpectedNumber.model_construct(metric=metric, path=()))
        for (path, phase), part in parts.items():
            where = ", ".join(word for word in (path if len(parts) > 1 else "", phase) if word)
            values, trials = values_of(metric, part)
            found[f"{metric} [{where}]" if where else metric] = estimate(metric, values, trials).value
    return found


def values_of(metric: str, rows: Iterable[Row]) -> tuple[list[float], list[str]]:
    """Return a metric's value per pair of members and trial, and the trial of each; inf: censored."""
    found: dict[tuple[str, frozenset[Any]], list[float]] = {}
    censored = metric_of(metric).estimator == "censored median"
    for row in rows:
        if row["outcome"] not in COUNTED:
            continue
        value = row["value"]
        if metric == TRIAL_SUCCESS:
            if not _ends(row):
                continue
            value = float(row["outcome"] == "ok")
        elif row["metric"] != metric:
            continue
        if value is None and censored:
            value = math.inf
        if value is not None:
            found.setdefault((row["trial"], frozenset((row["src"], row["dst"]))), []).append(float(value))
    return [over_ways(metric, ways) for ways in found.values()], [trial for trial, _ in found]


def _ends(row: Row) -> bool:
    return (row["probe"], row["metric"]) == ("trial", "duration_s")


def number(value: float) -> str:
    """Return a value as people read it, `beyond the deadline` for inf."""
    return "beyond the deadline" if math.isinf(value) else plain(value, 4)
