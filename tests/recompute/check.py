"""Holds a run's records and summary against what its evidence says.

    python -m tests.recompute RUN_DIR

Prints what differs and what nothing in the evidence tells; exit code 1 where anything differs, or nothing was compared.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.recompute.clock import clock
from tests.recompute.evidence import Run
from tests.recompute.figures import figures_of, of_cell
from tests.recompute.summary import COUNTED, check_summary

# Evidence is written with six digits after the point.
_RELATIVE, _ABSOLUTE = 1e-4, 2e-6
# In the order in which they name a pair's members; one of them that is gone is missed.
_OF_EACH_PAIR = {"connect_success", "time_to_connect_s"}


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
        pairs = list(dict.fromkeys((r["src"], r["dst"]) for r in rows if r["metric"] in _OF_EACH_PAIR))
        told = figures_of(run, trial, pairs)
        told |= of_cell(run, rows, told)
        for row in rows:
            _compare(row, told, found)
        _punched(rows, told, found)
        _lacking(rows, told, found)
        contradictions, count = clock(run, trial, rows)
        found.differences += contradictions
        found.compared.update({"clock": count} if count else {})
    summary = folder / "summary.csv"
    if summary.exists():
        differences, count = check_summary(run.records, list(csv.DictReader(summary.open())))
        found.differences += differences
        found.compared["summary.csv"] += count
    return found


def _compare(row: dict[str, Any], told: dict[Any, Any], found: Found) -> None:
    if row["metric"] == "hole_punch_success":
        return  # told by the path
    key = (row["metric"], row["src"], row["dst"])
    where = f"{row['trial']} {row['src'] or ''} {row['dst'] or ''} {row['metric']}"
    if key not in told:
        found.untold[row["metric"]] += 1
    else:
        found.compared[row["metric"]] += 1
        # A percentile without a value is one that so many lost packets made infinite.
        value, seen = (math.inf if one is None else one for one in (row["value"], told[key]))
        if not _same(value, seen):
            found.differences.append(f"{where}: recorded {row['value']}, the evidence says {seen:.9g}")


def _punched(rows: Sequence[dict[str, Any]], told: dict[Any, Any], found: Found) -> None:
    """Hold paths against the counters, and successes of hole punching against the path, theirs where they tell it."""
    values = {(row["metric"], row["src"], row["dst"]): row for row in rows}
    for (metric, src, dst), row in values.items():
        if metric != "connect_success" or row["outcome"] not in COUNTED:
            continue
        where, path = f"{row['trial']} {src} {dst}", row["path"]
        seen = told.get(("path", src, dst))
        if seen is not None and row["value"]:
            found.compared["path"] += 1
            direct = values.get(("time_to_direct_s", src, dst))
            if seen == "direct" and direct is not None and direct["value"] is None and direct["outcome"] != "error":
                seen = "mixed"  # direct after the deadline alone
            if seen != path:
                found.differences.append(f"{where} {metric}: recorded path {path}, the counters say {seen}")
            path = seen
        punched = values.get(("hole_punch_success", src, dst))
        if punched is not None and path:
            found.compared["hole_punch_success"] += 1
            if punched["value"] != float(path == "direct"):
                found.differences.append(
                    f"{where} hole_punch_success: recorded {punched['value']}, the path was {path}"
                )


def _lacking(rows: Sequence[dict[str, Any]], told: dict[Any, Any], found: Found) -> None:
    """Name what the evidence of a trial that ended well tells, and no record has."""
    if rows[-1]["outcome"] != "ok" or rows[-1]["metric"] != "duration_s":
        return
    recorded = {(row["metric"], row["src"], row["dst"]) for row in rows}
    for (metric, src, dst), value in told.items():
        if metric != "path" and value is not None and (metric, src, dst) not in recorded:
            where = f"{rows[-1]['trial']} {src or ''} {dst or ''} {metric}"
            found.differences.append(f"{where}: no record, the evidence says {value:.9g}")


def _same(one: float, other: float) -> bool:
    return one == other or math.isclose(one, other, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
