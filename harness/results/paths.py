"""The outcome of a trial's pairs of members, as progress, terminal, report, CSV and expectations all state it.

The rule: *pairs are the unit* of paths, latency and success, *trials are the cluster*: pairs of one trial share its
deployment, so that n(n-1)/2 of them are not as many independent observations. A trial succeeds when all its pairs do.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.model.words import VERDICTS
from harness.results.metrics import is_of_a_path, metric_of
from harness.results.record import COUNTED

Pair = tuple[str, str]


@dataclass(frozen=True)
class TrialPaths:
    """The pairs of one trial: the path of each that was measured, and how many punched a hole.

    `tried` counts the pairs on which hole punching was tried: none in the modes relay and hub.
    """

    paths: Mapping[Pair, str]
    punched: int
    tried: int

    @property
    def all_direct(self) -> bool:
        """Whether every pair punched a hole; False where none was tried."""
        return self.tried > 0 and self.punched == self.tried

    @property
    def text(self) -> str:
        """The paths as people read them, and the pairs that punched a hole where there are several."""
        words = path_text(list(self.paths.values()))
        if self.tried > 1:
            words += f"{', ' if words else ''}hole punch {self.punched}/{self.tried} pairs"
        return words


def paths_of(records: Iterable[Mapping[str, Any]]) -> TrialPaths:
    """Return what came of the pairs in the records of one trial (as read, or as `Record.as_dict` gives them)."""
    paths: dict[Pair, str] = {}
    punched: dict[Pair, bool] = {}
    for row in records:
        pair = (str(row["src"]), str(row["dst"]))
        if row["metric"] == "connect_success" and row["path"]:
            paths[pair] = row["path"]
        if row["metric"] == "hole_punch_success" and row["value"] is not None:
            punched[pair] = bool(row["value"])
    return TrialPaths(paths, sum(punched.values()), len(punched))


def path_seen(phase: str | None, own: str | None, connected: str) -> str:
    """Return the path that a record's figure is of; empty: unknown, or no pair's.

    After an event a pair may take another path than before: a record with a phase is of the path that it names itself
    (`own`), any other of the one that its pair, or trial, was `connected` by.
    """
    return (own or "") if phase else connected


def path_text(paths: Sequence[str]) -> str:
    """Return the paths of some pairs: the word alone for one pair, counts for several ("9 direct, 1 relayed")."""
    counts = Counter(path for path in paths if path)
    if len(paths) == 1:
        return next(iter(counts), "")
    order = sorted(counts, key=lambda path: VERDICTS.index(path) if path in VERDICTS else len(VERDICTS))
    return ", ".join(f"{counts[path]} {path}" for path in order)


def trial_figures(records: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return a trial's figure of each metric: of its pairs the median (or the worst, for what is a question of all).

    Of what a path costs there is one for each path that its pairs took, by path: a median over several lies where no
    pair is. All else has one, under the empty word. inf stands for what was censored. What does not count (`COUNTED`)
    is left out, as it is everywhere.
    """
    rows = list(records)
    connected = {frozenset(pair): path for pair, path in paths_of(rows).paths.items()}
    found: dict[tuple[str, str], dict[frozenset[Any], list[float]]] = {}
    for row in rows:
        value, metric, ends = row["value"], row["metric"], frozenset((row["src"], row["dst"]))
        if value is None and metric_of(metric).estimator == "censored median":
            value = math.inf
        if value is not None and row["outcome"] in COUNTED:
            path = path_seen(row["phase"], row["path"], connected.get(ends, "")) if is_of_a_path(metric) else ""
            found.setdefault((metric, path), {}).setdefault(ends, []).append(value)
    figures: dict[str, dict[str, float]] = {}
    for (metric, path), of in found.items():
        figures.setdefault(metric, {})[path] = over_pairs(metric, [over_ways(metric, v) for v in of.values()])
    return figures


def over_ways(metric: str, values: Sequence[float]) -> float:
    """Return one pair's figure from those of its ways."""
    match metric_of(metric).ways:
        case "smaller":
            return min(values)
        case "larger":
            return max(values)
        case "mean":
            return statistics.fmean(values)


def over_pairs(metric: str, values: Sequence[float]) -> float:
    """Return one trial's figure from those of its pairs."""
    match metric_of(metric).pairs:
        case "all":
            return min(values)
        case "any":
            return max(values)
        case "median":
            low, high = statistics.median_low(values), statistics.median_high(values)
            return high if math.isinf(high) else (low + high) / 2
