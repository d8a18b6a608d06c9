"""Holds a run's records and summary against what its evidence says.

    python -m tests.recompute RUN_DIR

Prints what differs and what nothing in the evidence tells; exit code 1 where anything differs, or nothing was compared.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from tests.recompute.evidence import Run
from tests.recompute.figures import figures_of

# Evidence is written with six digits after the point.
_RELATIVE, _ABSOLUTE = 1e-4, 2e-6


@dataclass
class Found:
    """What came of it: differences in words, how often each metric was compared, and how often it could not be."""

    differences: list[str] = field(default_factory=list)
    compared: Counter[str] = field(default_factory=Counter)
    untold: Counter[str] = field(default_factory=Counter)


def check(folder: Path) -> Found:
    """Compare every record and every row of summary.csv that can be recomputed."""
    run, found = Run(folder), Found()
    by_trial: dict[str, list[dict[str, Any]]] = {}
    for row in run.records:
        by_trial.setdefault(row["trial"], []).append(row)
    for trial, rows in by_trial.items():
        pairs = list(dict.fromkeys((r["src"], r["dst"]) for r in rows if r["metric"] == "connect_success"))
        told = figures_of(run, trial, pairs)
        for row in rows:
            _compare(row, told, found)
    summary = folder / "summary.csv"
    if summary.exists():
        _summary(run.records, list(csv.DictReader(summary.open())), found)
    return found


def _compare(row: dict[str, Any], told: dict[Any, Any], found: Found) -> None:
    key = (row["metric"], row["src"], row["dst"])
    where = f"{row['trial']} {row['src'] or ''} {row['dst'] or ''} {row['metric']}"
    if key not in told:
        found.untold[row["metric"]] += 1
    else:
        found.compared[row["metric"]] += 1
        # A percentile without a value is one that so many lost packets made infinite.
        value = math.inf if row["value"] is None else row["value"]
        if not _same(value, told[key]):
            found.differences.append(f"{where}: recorded {row['value']}, the evidence says {told[key]:.9g}")
    path = told.get(("path", row["src"], row["dst"]))
    if row["metric"] == "connect_success" and path is not None and row["value"]:
        found.compared["path"] += 1
        if path != row["path"]:
            found.differences.append(f"{where}: recorded path {row['path']}, the counters say {path}")


def _same(one: float, other: float) -> bool:
    return one == other or math.isclose(one, other, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)


_CELL = ("overlay", "mode", "topology", "nat_a", "nat_b", "link", "src", "dst")


def _summary(records: list[dict[str, Any]], rows: list[dict[str, str]], found: Found) -> None:
    """Medians by numpy and Wilson's interval by scipy, of cells with one pair of members and one condition."""
    ended = {row["trial"]: row["outcome"] for row in records if row["metric"] == "duration_s"}
    conditions: dict[Any, set[str]] = {}
    for row in rows:
        conditions.setdefault(tuple(row[name] for name in _CELL), set()).add(row["params"])
    # A pair's path, both ways alike, and a trial's where all its pairs have the same.
    paths: dict[Any, str] = {}
    for row in records:
        if row["metric"] == "connect_success" and row["path"]:
            for ends in ({row["src"], row["dst"]}, {None}):
                key = (row["trial"], frozenset(ends))
                paths[key] = row["path"] if paths.get(key, row["path"]) == row["path"] else "several"
    values: dict[Any, list[float]] = {}
    for row in records:
        if row["value"] is not None and row["outcome"] in {"ok", "failed"} and ended[row["trial"]] in {"ok", "failed"}:
            ends = frozenset((row["src"], row["dst"]))
            path = paths.get((row["trial"], ends), paths.get((row["trial"], frozenset({None})), ""))
            key = (*(row[name] or "" for name in _CELL), row["metric"])
            for of in {"", path}:
                values.setdefault((*key, of), []).append(row["value"])
    for row in rows:
        key = tuple(row[name] for name in _CELL)
        mine = values.get((*key, row["metric"], row.get("path", "")), [])
        usual = row["over"] == "runs" and len(conditions[key]) == 1 and "censored" not in row["method"]
        if not usual or len(mine) != int(row["n"]) or not mine:
            continue
        found.compared["summary.csv"] += 1
        for name, value in _estimates(row, mine):
            # The file has six significant digits.
            if not math.isclose(float(row[name]), value, rel_tol=2e-5, abs_tol=1e-9):
                found.differences.append(
                    f"summary.csv {' '.join(key)} {row['metric']}: {name} {row[name]}, not {value}"
                )


def _estimates(row: dict[str, str], values: list[float]) -> Iterator[tuple[str, float]]:
    if "Wilson" not in row["method"]:
        yield "estimate", float(np.median(values))
        return
    successes = round(sum(values))
    interval = stats.binomtest(successes, len(values)).proportion_ci(0.95, method="wilson")
    yield from (("estimate", successes / len(values)), ("ci_low", interval.low), ("ci_high", interval.high))
