"""Numbers that a scenario expects, judged with the intervals of what was measured. Pure; no run, no file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.results.clusters import estimate
from harness.results.metrics import TRIAL_SUCCESS, metric_of
from harness.results.paths import over_ways
from harness.results.record import COUNTED
from harness.results.statistics import Estimate

# *uncertain*: the estimate breaks the bound, but its interval reaches over it: more repeats would tell.
Judgement = Literal["met", "uncertain", "broken", "not measured"]


@dataclass(frozen=True)
class Bound:
    """What is expected of one metric, in its unit: at least `least`, at most `most`; None: no bound on that side."""

    metric: str
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Judged:
    """A bound and what came of it. A run must fail for *broken* and *not measured*; *uncertain* is told."""

    bound: Bound
    found: Estimate
    judgement: Judgement

    @property
    def text(self) -> str:
        """One sentence with bound, estimate, interval and n."""
        metric = metric_of(self.bound.metric)
        unit = "" if metric.unit == "1" else f" {metric.unit}"
        sides = [f"at least {self.bound.least:g}{unit}"] if self.bound.least is not None else []
        sides += [f"at most {self.bound.most:g}{unit}"] if self.bound.most is not None else []
        wanted = f"{self.bound.metric}: expected {' and '.join(sides)}"
        if self.judgement == "not measured":
            return f"{wanted}, it was never measured"
        low, high = (number(end) for end in (self.found.low, self.found.high))
        interval = f" ({low} to {high}; {self.found.method})" if not math.isnan(self.found.low) else ""
        return f"{wanted}, it was {number(self.found.value)}{unit}{interval}, n = {self.found.n}: {self.judgement}"


def judge(records: Iterable[Mapping[str, Any]], bounds: Sequence[Bound]) -> list[Judged]:
    """Judge bounds on the records of one cell (all its repeats, all pairs of members).

    The estimate is that of summary.csv: pairs are the unit, trials the cluster; what was censored is beyond every bound
    from above. A bound is *broken* when the whole interval lies beyond it, or the value where one run has no interval,
    and *met* when the estimate keeps it. The metric `trial_success` is made of outcomes.
    """
    rows = list(records)
    return [_judged(bound, rows) for bound in bounds]


def _judged(bound: Bound, rows: Sequence[Mapping[str, Any]]) -> Judged:
    values, trials = values_of(bound.metric, rows)
    found = estimate(bound.metric, values, trials)
    if not values:
        return Judged(bound, found, "not measured")
    low = found.value if math.isnan(found.low) else found.low
    high = found.value if math.isnan(found.high) else found.high
    least = -math.inf if bound.least is None else bound.least
    most = math.inf if bound.most is None else bound.most
    if high < least or low > most or (math.isinf(low) and bound.most is not None):
        return Judged(bound, found, "broken")
    kept = least <= found.value <= most and not (math.isinf(found.value) and bound.most is not None)
    return Judged(bound, found, "met" if kept else "uncertain")


def values_of(metric: str, rows: Iterable[Mapping[str, Any]]) -> tuple[list[float], list[str]]:
    """Return a metric's value per pair of members and trial, and the trial of each; inf: censored."""
    found: dict[tuple[str, frozenset[Any]], list[float]] = {}
    censored = metric_of(metric).estimator == "censored median"
    for row in rows:
        if row["outcome"] not in COUNTED:
            continue
        value = row["value"]
        if metric == TRIAL_SUCCESS:
            if (row["probe"], row["metric"]) != ("trial", "duration_s"):
                continue
            value = float(row["outcome"] == "ok")
        elif row["metric"] != metric:
            continue
        if value is None and censored:
            value = math.inf
        if value is not None:
            found.setdefault((row["trial"], frozenset((row["src"], row["dst"]))), []).append(float(value))
    return [over_ways(metric, ways) for ways in found.values()], [trial for trial, _ in found]


def number(value: float) -> str:
    """Return a value as people read it, `beyond the deadline` for inf."""
    return "beyond the deadline" if math.isinf(value) else f"{value:.4g}"
