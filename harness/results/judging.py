"""Numbers that a scenario expects, judged with the intervals of what was measured. Pure; no run, no file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from harness.model.expectation import ExpectedNumber
from harness.model.nat_order import nat_rank
from harness.model.words import VERDICTS
from harness.results.clusters import estimate, exact_interval
from harness.results.expectations import Expected
from harness.results.frame import canonical_json
from harness.results.metrics import TRIAL_SUCCESS, is_of_a_path, metric_of
from harness.results.numbers import plain
from harness.results.pairs import nats_between
from harness.results.paths import over_ways, path_seen, paths_of
from harness.results.record import COUNTED
from harness.results.statistics import FEWEST_FOR_INTERVAL, Estimate, range_coverage, runs_to_exclude

# *met*, *not met*: by a 95 % interval. *against it*: too few repeats for one that tells, and each breaks the bound.
# *not decided*: the interval reaches over the bound, or there is none; more repeats would tell.
Judgement = Literal["met", "not met", "against it", "not decided", "not measured"]

# The path of what is a whole trial's whose pairs have different paths.
_SEVERAL = "several paths"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Judged:
    """A bound, and what came of it in one cell, on one path, in one phase, between one pair of NATs.

    `path` is empty where pairs of all paths are judged together, `phase` where there is no timeline, `nats` where all
    pairs of members have the same, or what is judged is no rate of pairs. `silent` counts
    the cell's trials of which nothing was measured, on any path: those that failed before, say. `remark` says what it
    would take to decide, or why nothing is judged. `exact` is the interval by which a rate was judged, where it was by
    one: that of `found` is Wilson's, which every table has and which holds on average alone.
    """

    cell: str
    bound: ExpectedNumber
    found: Estimate
    judgement: Judgement
    path: str = ""
    phase: str = ""
    silent: int = 0
    remark: str = ""
    exact: tuple[float, float] | None = None
    nats: str = ""

    @property
    def is_broken(self) -> bool:
        """Whether a run must fail for it."""
        return self.judgement in {"not met", "against it", "not measured"}

    @property
    def text(self) -> str:
        """One sentence with bound, estimate, interval and n."""
        bound, metric = self.bound, metric_of(self.bound.metric)
        unit = "" if metric.unit == "1" else f" {metric.unit}"
        sides = [f"at least {bound.min:g}{unit}"] if bound.min is not None else []
        sides += [f"at most {bound.max:g}{unit}"] if bound.max is not None else []
        where = "".join(f", {part}" for part in (self.nats, self.path, self.phase) if part)
        wanted = f"{self.cell}{where}: expected {bound.metric} {' and '.join(sides)}"
        remark = f"; {self.remark}" if self.remark else ""
        if not self.found.n:
            return f"{wanted}, it was never measured{remark}"
        low, high = (number(end) for end in (self.found.low, self.found.high))
        interval = f"{low} to {high}; " if not math.isnan(self.found.low) else ""
        silent = f"; {self.silent} more trials gave no value" if self.silent else ""
        value = f"{number(self.found.value)}{unit if math.isfinite(self.found.value) else ''}"
        exactly = f"; exactly {' to '.join(map(number, self.exact))}" if self.exact else ""
        return f"{wanted}, it was {value} ({interval}{self.found.method}; n = {self.found.n}{silent}){exactly}{remark}"


def judge_cells(expected: Iterable[Expected], by_trial: Mapping[str, Sequence[Row]]) -> list[Judged]:
    """Judge all numbers that are expected of a run's trials, cell by cell.

    Args:
        expected: of every planned trial; one that was never run does not count.
        by_trial: all records of each trial that was.
    """
    cells: dict[str, dict[ExpectedNumber, list[Row]]] = {}
    elsewhere: set[tuple[str, ExpectedNumber]] = set()
    for one in expected:
        rows = by_trial.get(one.trial, ())
        # What an overlay cannot do at all is judged by its outcome.
        if rows and rows[-1]["outcome"] != "unsupported":
            for bound in one.numbers:
                cells.setdefault(one.cell_id, {}).setdefault(bound, []).extend(rows)
                if set(one.all_paths) - set(bound.path):
                    elsewhere.add((one.cell_id, bound))
    return [
        judged
        for cell, bounds in cells.items()
        for bound, rows in bounds.items()
        for judged in judge(rows, bound, cell, may_be_elsewhere=(cell, bound) in elsewhere)
    ]


def judge(
    rows: Sequence[Row], bound: ExpectedNumber, cell: str = "", *, may_be_elsewhere: bool = False
) -> list[Judged]:
    """Judge a bound on the records of one cell (all its repeats, all pairs of members).

    The estimate is that of summary.csv: pairs are the unit, trials the cluster; what was censored is beyond every bound
    from above. Each path and phase is judged by itself: a median over direct and relayed pairs lies where no pair is.
    So is, of rates, each pair of NATs, where the members' differ: which pairs succeed is set by NATs that were chosen.
    Successes and the path probe's times are of all paths, unless the bound names some. The metric `trial_success` is
    made of outcomes.

    A bound on a path that no pair took is broken: who wants a direct path to be quick does not want it to be gone. It
    says nothing where the same scenario expects another path, or allows one (`may_be_elsewhere`).
    """
    parts = parts_of(bound.metric, rows, bound.path)
    order: dict[str, int] = {path: number for number, path in enumerate(VERDICTS)}
    keys = sorted(parts, key=lambda part: (order.get(part.path, len(order)), part.phase, part.nats))
    if not keys and bound.path and values_of(bound.metric, rows)[0]:
        remark = "no pair took that path"
        if may_be_elsewhere:
            remark += ", and the scenario allows another"
        judgement: Judgement = "not decided" if may_be_elsewhere else "not measured"
        nothing = estimate(bound.metric, [], [])
        return [Judged(cell, bound, nothing, judgement, " or ".join(bound.path), remark=remark)]
    spoke = set(values_of(bound.metric, rows)[1])
    silent = len({row["trial"] for row in rows if row["outcome"] in COUNTED} - spoke)
    found = [_judged(cell, bound, parts[key], key) for key in keys] or [_judged(cell, bound, [], Part())]
    return [replace(one, silent=silent) for one in found]


class Part(NamedTuple):
    """What is never pooled with another within a cell; empty: not told apart by it."""

    path: str = ""
    phase: str = ""
    nats: str = ""


def parts_of(metric: str, rows: Sequence[Row], paths: Sequence[str] = ()) -> dict[Part, list[Row]]:
    """Return the rows of a cell that tell of the metric, by what is never pooled; on these paths alone, if any."""
    told_apart = bool(paths) or is_of_a_path(metric)
    nats_of = _nats(metric, rows)
    by_trial: dict[str, list[Row]] = {}
    for row in rows:
        by_trial.setdefault(row["trial"], []).append(row)
    parts: dict[Part, list[Row]] = {}
    for of_trial in by_trial.values():
        path_of = _paths(of_trial)
        for row in of_trial:
            if row["metric"] == metric or (metric == TRIAL_SUCCESS and _ends(row)):
                ends = frozenset((row["src"], row["dst"]))
                path = path_seen(row["phase"], row["path"], path_of.get(ends, path_of[_WHOLE]))
                if not paths or path in paths:
                    key = Part(path if told_apart else "", row["phase"] or "", nats_of.get(ends, ""))
                    parts.setdefault(key, []).append(row)
    return {key: part for key, part in parts.items() if values_of(metric, part)[0]}


def _nats(metric: str, rows: Sequence[Row]) -> dict[frozenset[Any], str]:
    """Return the NATs of each pair of members that a rate is of; nothing where all pairs have the same."""
    found: dict[frozenset[Any], str] = {}
    for row in rows if metric_of(metric).estimator == "proportion" else ():
        if row["metric"] == metric and row["src"]:
            ends = frozenset((row["src"], row["dst"]))
            if ends not in found:
                nats = nats_between(canonical_json(row.get("pair") or {}), row["src"], row["dst"])
                kinds = [nat or "no NAT" for nat in sorted(nats, key=nat_rank)] if nats else ["unknown NATs"]
                found[ends] = " x ".join(kinds)
    return found if len(set(found.values())) > 1 else {}


_WHOLE: frozenset[Any] = frozenset({None})


def _paths(rows: Sequence[Row]) -> dict[frozenset[Any], str]:
    """Return the path of each pair of a trial, both ways alike, and of the trial as a whole."""
    found = paths_of(rows).paths
    words = set(found.values())
    whole = words.pop() if len(words) == 1 else _SEVERAL if words else ""
    return {frozenset(pair): path for pair, path in found.items()} | {_WHOLE: whole}


def _judged(cell: str, bound: ExpectedNumber, rows: Sequence[Row], part: Part) -> Judged:
    path, phase, nats = part
    values, trials = values_of(bound.metric, rows)
    found = estimate(bound.metric, values, trials)
    runs = len(set(trials))
    if found.n and metric_of(bound.metric).estimator == "proportion":
        exact = None if _is_of_all(bound) else exact_interval(values, trials)
        judgement = _judgement(bound, found, exact or (found.value, found.value))
        remark = _all_succeeded(bound, found, runs) if judgement == "not decided" else ""
        if judgement == "not decided" and runs < FEWEST_FOR_INTERVAL and _each_breaks(bound, values):
            rate = (bound.min or 0) if found.value == 0 else 1 - (bound.max or 0)
            needed = max(runs, runs_to_exclude(rate))
            judgement, remark = (
                "against it",
                f"every repeat breaks it; {needed} such repeats would be enough for `not met`",
            )
        return Judged(cell, bound, found, judgement, path, phase, remark=remark, exact=exact, nats=nats)
    # One run has no interval but its value.
    alone = math.isnan(found.low)
    judgement = _judgement(bound, found, (found.value, found.value) if alone else (found.low, found.high))
    if not found.n or runs >= FEWEST_FOR_INTERVAL:
        return Judged(cell, bound, found, judgement, path, phase)
    # What the range of so few runs covers is no certainty; that all of them break the bound is a fact.
    few: Judgement = "against it" if judgement == "not met" else "not decided"
    surely = (
        f"{runs} repeats give at most {100 * range_coverage(runs):.0f} % confidence"
        if runs > 1
        else "1 repeat gives no confidence"
    )
    return Judged(cell, bound, found, few, path, phase, remark=f"{surely}, {FEWEST_FOR_INTERVAL} would be enough")


def _is_of_all(bound: ExpectedNumber) -> bool:
    """Tell whether a bound on a rate asks that none failed, or none succeeded: a fact of the runs, and no estimate."""
    return (bound.min is None or bound.min >= 1) and (bound.max is None or bound.max <= 0)


def _each_breaks(bound: ExpectedNumber, successes: Iterable[float]) -> bool:
    """Tell whether each of these successes (1) and failures (0) lies on the wrong side of a bound on their rate."""
    seen = set(successes)
    return (bound.min is not None and bound.min > 0 and seen == {0.0}) or (
        bound.max is not None and bound.max < 1 and seen == {1.0}
    )


def _all_succeeded(bound: ExpectedNumber, found: Estimate, runs: int) -> str:
    """Say how many repeats without a failure show that a rate is as high as it should be; empty where some failed."""
    if found.value < 1 or not bound.min or bound.min >= 1:
        return ""
    needed = max(runs, runs_to_exclude(1 - bound.min))
    return f"{needed} repeats without a failure would be enough"


def _judgement(bound: ExpectedNumber, found: Estimate, interval: tuple[float, float]) -> Judgement:
    if not found.n:
        return "not measured"
    least = -math.inf if bound.min is None else bound.min
    most = math.inf if bound.max is None else bound.max
    low, high = interval
    if metric_of(bound.metric).estimator == "proportion":
        # No sample shows that a rate is 1; "at least 1" asks that none failed, and "at most 0" that none succeeded.
        low = found.value if least >= 1 else low
        high = found.value if most <= 0 else high
    never = bound.max is not None  # what lies beyond the deadline is more than any bound
    if high < least or low > most or (never and math.isinf(low)):
        return "not met"
    return "met" if low >= least and high <= most and not (never and math.isinf(high)) else "not decided"


def figures_of(rows: Sequence[Row]) -> dict[str, float]:
    """Return each metric's estimate over one cell's repeats, `metric [path]` where paths or NATs are told apart."""
    found = {}
    for metric in dict.fromkeys(row["metric"] for row in rows):
        parts = parts_of(metric, rows)
        for (path, phase, nats), part in parts.items():
            where = ", ".join(word for word in (nats, path if len(parts) > 1 else "", phase) if word)
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
