"""Holds every row of summary.csv against the records, by the definitions in results/README.md alone (numpy, scipy)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

COUNTED = frozenset({"ok", "failed"})
_CONDITION = ("overlay", "mode", "topology", "nat_a", "nat_b", "link", "params", "engine", "phase")
_WORSE_WAY = {"connect_success": min, "hole_punch_success": min, "path_mtu_bytes": min, "offered_mtu_bytes": min}
_ANY = {"pmtu_black_hole": max}
# Percentiles over all packets, of which a lost one took for ever.
_DELAYS = r"^(added_|underlay_|loaded_)?(rtt|rtt_rise|owd|pdv)_p\d+_ms$|underlay(_completion)?_(s|ratio)$"
_NEVER = re.compile(r"[Cc]ensored|as infinite|[Ff]or ever|None: |interrupted took")

Cell = tuple[str, ...]
Values = dict[tuple[str, str], float]
"""By trial and pair of members (or none)."""


def check_summary(records: Sequence[dict[str, Any]], rows: Sequence[dict[str, str]]) -> tuple[list[str], int]:
    """Return what differs, in words, and how many rows were compared: each row, and that none is missing."""
    by_row = _values(records)
    differences: list[str] = []
    found: set[tuple[Cell, str, str]] = set()
    with_path = bool(rows) and "path" in rows[0]
    for row in rows:
        cell = tuple(_canonical(row[name]) if name == "params" else row[name] for name in (*_CONDITION, "src", "dst"))
        over, path = row["over"], row["path"] if with_path else ""
        found.add((cell, row["metric"], over))
        where = f"summary.csv {' '.join(filter(None, cell))} {row['metric']} {path}({over})"
        if over == "runs":
            values = by_row.get((cell, row["metric"]), {}).get(path, {})
        else:
            values = _over_pairs(by_row, cell, row["metric"], path, whole=over != "pairs")
        differences += [f"{where}: {text}" for text in _differences(row, values)]
    differences += _missing(by_row, rows, found, with_path)
    return differences, len(rows)


def _values(records: Sequence[dict[str, Any]]) -> dict[tuple[Cell, str], dict[str, Values]]:
    """Return what counts by cell and metric, then by path (and over all paths under the empty word)."""
    ended = {row["trial"]: row["outcome"] for row in records if row["metric"] == "duration_s"}
    paths = _paths(records)
    found: dict[tuple[Cell, str], dict[str, dict[tuple[str, str], list[float]]]] = {}
    for row in records:
        ends = frozenset((row["src"], row["dst"]))
        key = _cell(row), row["metric"]
        parts = found.setdefault(key, {})
        value = row["value"]
        if value is None and is_censored(row["metric"]):
            value = math.inf
        if value is None or row["outcome"] not in COUNTED or ended.get(row["trial"]) not in COUNTED:
            continue
        path = (row.get("path") or "") if row.get("phase") else ""
        if not row.get("phase"):
            path = paths.get((row["trial"], ends), paths.get((row["trial"], frozenset({None})), ""))
        pair = " ".join(sorted(filter(None, ends)))
        for of in {"", path}:
            parts.setdefault(of, {}).setdefault((row["trial"], pair), []).append(value)
    return {
        key: {path: {one: _middle(several) for one, several in values.items()} for path, values in parts.items()}
        for key, parts in found.items()
    }


def _paths(records: Sequence[dict[str, Any]]) -> dict[Any, str]:
    """Return a pair's path, both ways alike, and a trial's where all its pairs have the same."""
    paths: dict[Any, str] = {}
    for row in records:
        if row["metric"] == "connect_success" and row["path"]:
            paths[row["trial"], frozenset({row["src"], row["dst"]})] = row["path"]
            whole = (row["trial"], frozenset({None}))
            paths[whole] = row["path"] if paths.get(whole, row["path"]) == row["path"] else "several"
    return paths


def _over_pairs(
    by_row: dict[tuple[Cell, str], dict[str, Values]], cell: Cell, metric: str, path: str, *, whole: bool
) -> Values:
    """Return a value a pair and trial, both ways in one; of whole runs a value a trial, that of the pairs together."""
    ways: dict[tuple[str, str], list[float]] = {}
    for (other, name), parts in by_row.items():
        if name == metric and other[:-2] == cell[:-2] and other[-1]:
            for key, value in parts.get(path, {}).items():
                ways.setdefault(key, []).append(value)
    merge = _WORSE_WAY.get(metric) or _ANY.get(metric) or (lambda several: float(np.mean(several)))
    pairs = {key: merge(several) for key, several in ways.items()}
    if not whole:
        return pairs
    trials: dict[tuple[str, str], list[float]] = {}
    for (trial, _), value in pairs.items():
        trials.setdefault((trial, ""), []).append(value)
    return {trial: _ANY.get(metric, min)(several) for trial, several in trials.items()}


def _differences(row: dict[str, str], values: Values) -> Iterator[str]:
    numbers = list(values.values())
    if int(row["n"]) != len(numbers):
        yield f"n {row['n']}, not {len(numbers)}"
        return
    expected = _estimate(row, values)
    for name, value in expected.items():
        said = float(row[name]) if row[name] else math.nan
        # The file has six significant digits.
        same = said == value or math.isclose(said, value, rel_tol=2e-5, abs_tol=1e-9)
        if not same and not (math.isnan(said) and math.isnan(value)):
            yield f"{name} {row[name] or 'empty'}, not {'empty' if math.isnan(value) else value}"


def _estimate(row: dict[str, str], values: Values) -> dict[str, float]:
    """Return estimate and interval."""
    numbers = list(values.values())
    if not numbers:
        return dict.fromkeys(("estimate", "ci_low", "ci_high"), math.nan)
    if is_rate(row):
        rate = float(np.mean(numbers))
        clusters: dict[str, list[float]] = {}
        for (trial, _), value in values.items():
            clusters.setdefault(trial, []).append(value)
        if len(clusters) < len(numbers):
            low, high = _score_interval(rate, _independent(rate, list(clusters.values())))
            return {"estimate": rate, "ci_low": low, "ci_high": high}
        interval = stats.binomtest(round(sum(numbers)), len(numbers)).proportion_ci(0.95, method="wilson")
        return {"estimate": rate, "ci_low": interval.low, "ci_high": interval.high}
    middle = _middle(numbers)
    of_trials: dict[str, list[float]] = {}
    for (trial, _), value in values.items():
        of_trials.setdefault(trial, []).append(value)
    low, high = _order_statistics([_middle(several) for several in of_trials.values()])
    if row["over"] == "pairs" and not math.isnan(low):
        low, high = min(low, middle), max(high, middle)
    return {"estimate": middle, "ci_low": low, "ci_high": high}


def _independent(rate: float, clusters: Sequence[Sequence[float]]) -> float:
    """Return to how many independent pairs those of several trials come: what the ratio estimator's variance says.

    Times (z / t)^2, for what so many trials know of it; at least as many as trials, at most as many as pairs.
    """
    m, n = len(clusters), sum(map(len, clusters))
    if m == 1 or rate in {0.0, 1.0}:
        return m
    residuals = [sum(value - rate for value in one) for one in clusters]
    variance = m * float(np.var(residuals, ddof=1)) / n**2
    known = (stats.norm.isf(0.025) / stats.t.isf(0.025, m - 1)) ** 2
    alike = rate * (1 - rate) / variance if variance > 1e-12 else n
    return float(min(max(known * alike, m), n))


def _score_interval(rate: float, n: float) -> tuple[float, float]:
    """Return the rates p at which the one seen is just 1.96 standard errors off: (rate - p)^2 = z^2 p (1 - p) / n."""
    z2 = float(stats.norm.isf(0.025)) ** 2
    low, high = sorted(float(one.real) for one in np.roots([n + z2, -(2 * n * rate + z2), n * rate**2]))
    return low, high


def is_rate(row: dict[str, str]) -> bool:
    """Tell whether a row is one of successes, by its metric's name: no method that the file names is believed."""
    return bool(re.search(r"_success$|^pmtu_black_hole$|_heard$|_intact$|^tcp_survives$|_close$", row["metric"]))


def _order_statistics(values: Sequence[float]) -> tuple[float, float]:
    """Return the narrowest interval that covers 95 % (the sign test turned round), or the range where none does."""
    ordered, n = sorted(values), len(values)
    if n < 2:
        return math.nan, math.nan
    within = [k for k in range(1, n // 2 + 1) if 1 - 2 * stats.binom.cdf(k - 1, n, 0.5) >= 0.95]
    k = max(within, default=1)
    return ordered[k - 1], ordered[-k]


def _missing(
    by_row: dict[tuple[Cell, str], dict[str, Values]],
    rows: Sequence[dict[str, str]],
    found: set[tuple[Cell, str, str]],
    with_path: bool,
) -> Iterator[str]:
    """Yield what was measured and has no row: a cell's metric, a path of it where it is told apart, pairs together."""
    told: dict[tuple[Cell, str], set[str]] = {}
    for row in rows if with_path else ():
        if row["over"] == "runs":
            cell = tuple(
                _canonical(row[name]) if name == "params" else row[name] for name in (*_CONDITION, "src", "dst")
            )
            told.setdefault((cell, row["metric"]), set()).add(row["path"])
    pairs: dict[tuple[Cell, str], set[frozenset[str]]] = {}
    for (cell, metric), parts in by_row.items():
        where = f"summary.csv {' '.join(filter(None, cell))} {metric}"
        if (cell, metric, "runs") not in found:
            yield f"{where}: no row"
        elif with_path and any(told[cell, metric]):
            yield from (f"{where}: no row for the path {path}" for path in {*parts} - {"", *told[cell, metric]})
        if cell[-1] and parts:
            pairs.setdefault(((*cell[:-2], "", ""), metric), set()).add(frozenset(cell[-2:]))
    for (cell, metric), which in pairs.items():
        if len(which) > 1 and (cell, metric, "pairs") not in found:
            yield f"summary.csv {' '.join(filter(None, cell))} {metric}: no row over pairs"


def _cell(row: dict[str, Any]) -> Cell:
    fields = {**row, "engine": row.get("engine") or "emulated"}
    texts = [json.dumps(fields["params"]) if name == "params" else fields.get(name) or "" for name in _CONDITION]
    texts[_CONDITION.index("params")] = _canonical(texts[_CONDITION.index("params")])
    return (*texts, row["src"] or "", row["dst"] or "")


@cache
def _canonical(params: str) -> str:
    """Return parameters without the deadline, which is a bound and no condition."""
    return json.dumps({key: value for key, value in json.loads(params).items() if key != "deadline_s"}, sort_keys=True)


@cache
def is_censored(metric: str) -> bool:
    """Tell whether a missing value is one that never came, as results/README.md has it, or a percentile of delays."""
    page = (Path(__file__).parents[2] / "results" / "README.md").read_text()
    line = re.search(rf"^\| `{re.escape(metric)}` \|.*$", page, re.MULTILINE)
    return bool((line and _NEVER.search(line[0])) or re.search(_DELAYS, metric))


def _middle(values: Sequence[float]) -> float:
    ordered = sorted(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return high if math.isinf(high) else (low + high) / 2
