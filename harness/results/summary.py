"""From records to the tidy summary: a row per cell and metric, with n, estimate, interval and what did not count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from harness.results.cells import CELL, CONDITION, cells, counted_values
from harness.results.clusters import estimate
from harness.results.metrics import metric_of
from harness.results.paths import over_pairs, over_ways
from harness.results.record import INSTEAD
from harness.results.statistics import Estimate, as_floats, medians, proportion

COUNTS = INSTEAD
COLUMNS = (*CELL, "metric", "over", "n", "estimate", "ci_low", "ci_high", "unit", "method", *COUNTS, "layer")

# What n counts: runs; pairs of members in all runs, clustered by run; runs, each a success when all its pairs are.
RUNS, PAIRS, WHOLE_RUNS = "runs", "pairs", "whole runs"
_SHARED = (*CONDITION, "phase")

Key = tuple[str, ...]
_Row = tuple[Key, str, str, Estimate]


def summarise(records: pd.DataFrame) -> pd.DataFrame:
    """Summarise records (the frame of `harness.results.frame`) to one row per cell and metric.

    The columns are `COLUMNS`: the cell's keys (text, empty where there is none; `params` as canonical JSON), metric,
    over (what n counts), n, estimate, ci_low, ci_high (in `unit`; NaN: none, inf: beyond the deadline), method, the
    number of trials of that cell in which this metric failed, was unsupported, invalid or an error, and the overlay's
    layer. Trials that are
    invalid, unsupported or in error never count in n. Several values of one trial and direction are first reduced to
    their median: the run is the unit. Where a run has several pairs of members, further rows without `src` and `dst`
    pool them: over all pairs, with an interval that knows that pairs of one run are not independent, and for successes
    over runs of which all pairs succeeded.
    """
    if records.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    frame = cells(records)
    per_run = _per_run(frame)
    found = [*_per_cell(per_run), *_over_pairs(per_run)]
    table = pd.DataFrame([key for key, *_ in found], columns=[*CELL, "metric"])
    table["over"] = [over for _, over, _, _ in found]
    for name, attribute in (("n", "n"), ("estimate", "value"), ("ci_low", "low"), ("ci_high", "high")):
        table[name] = [getattr(one, attribute) for *_, one in found]
    table["unit"] = [unit for _, _, unit, _ in found]
    table["method"] = [one.method for *_, one in found]
    layers = frame.loc[frame["layer"].notna()].groupby("overlay", sort=False)["layer"].first()
    table["layer"] = table["overlay"].map(layers).astype(object).fillna("").astype("str")
    return _with_counts(table, frame)[list(COLUMNS)]


def _per_cell(per_run: pd.DataFrame) -> list[_Row]:
    rows: list[tuple[Key, str, Estimate | None]] = []
    waiting: list[list[float]] = []  # medians are estimated together, which is much faster
    for key, group in per_run.groupby([*CELL, "metric"], sort=False):
        values = as_floats(group["value"].dropna())
        done = None
        if metric_of(str(key[-1])).estimator == "proportion":
            done = proportion(round(float(values.sum())), values.size)
        else:
            waiting.append(list(values))
        rows.append((tuple(map(str, key)), str(group["unit"].iloc[0]), done))
    estimated = iter(medians(waiting))
    return [(key, RUNS, unit, next(estimated) if done is None else done) for key, unit, done in rows]


def _over_pairs(per_run: pd.DataFrame) -> Iterator[_Row]:
    directed = per_run[(per_run["src"] != "") & per_run["value"].notna()]
    ends = [" ".join(sorted(pair)) for pair in zip(directed["src"], directed["dst"], strict=True)]
    directed = directed.assign(pair=ends)
    counts = directed.groupby([*_SHARED, "metric"], sort=False)["pair"].transform("nunique")
    for key, group in directed[counts > 1].groupby([*_SHARED, "metric"], sort=False):
        metric, unit = str(key[-1]), str(group["unit"].iloc[0])
        by_pair = group.groupby(["trial", "pair"], sort=False)["value"].agg(partial(over_ways, metric))
        trials = by_pair.index.get_level_values("trial")
        shared = (*map(str, key[:-1]), "", "", metric)
        yield shared, PAIRS, unit, estimate(metric, list(by_pair), list(trials))
        if metric_of(metric).estimator == "proportion":
            whole = by_pair.groupby(level="trial", sort=False).agg(partial(over_pairs, metric))
            yield shared, WHOLE_RUNS, unit, proportion(round(float(whole.sum())), whole.size)


def _per_run(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per cell, metric and trial."""
    frame = frame.assign(value=counted_values(frame))
    keys = [*CELL, "metric", "trial"]
    if not frame.duplicated(keys).any():
        return frame
    return frame.groupby(keys, sort=False, as_index=False).agg({"value": "median", "unit": "first"})


def _with_counts(table: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Add how many trials of the cell did not give this metric, by reason.

    A trial that ended early has no record of most metrics, so its own outcome speaks for those it lacks.
    """
    outcome_of: dict[Key, dict[str, str]] = {}
    names = [*CELL, "metric", "trial", "outcome"]
    for row in zip(*(frame[name] for name in names), strict=True):
        outcome_of.setdefault(row[:-2], {})[row[-2]] = row[-1]
    of_condition: dict[Key, dict[str, str]] = {}
    of_pairs: dict[Key, dict[str, str]] = {}
    for key, outcomes in outcome_of.items():
        if key[-1] == "duration_s":
            of_condition.setdefault(key[: len(CONDITION)], {}).update(outcomes)
        pooled = of_pairs.setdefault((*key[: len(_SHARED)], "", "", key[-1]), {})
        # One pair that failed is a trial that failed for this metric.
        pooled.update({trial: what for trial, what in outcomes.items() if pooled.get(trial, "ok") == "ok"})
    counts = []
    for over, *rest in table[["over", *CELL, "metric"]].itertuples(index=False, name=None):
        key = tuple(rest)
        own = outcome_of[key] if over == RUNS else of_pairs[key]
        tally = Counter((of_condition.get(key[: len(CONDITION)], {}) | own).values())
        counts.append([tally[name] for name in COUNTS])
    table[list(COUNTS)] = np.asarray(counts, dtype=np.int64).reshape(-1, len(COUNTS))
    return table
