"""From records to the tidy summary: a row per cell and metric, with n, estimate, interval and what did not count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from harness.results.cells import CELL, CONDITION, cells, counted_values
from harness.results.clusters import estimate
from harness.results.metrics import is_of_a_path, metric_of
from harness.results.pairs import nats_between
from harness.results.paths import over_pairs, over_ways
from harness.results.record import INSTEAD
from harness.results.statistics import Estimate, as_floats, medians, proportion

COUNTS = INSTEAD
COLUMNS = (*CELL, "metric", "over", "n", "estimate", "ci_low", "ci_high", "unit", "method", *COUNTS, "layer", "path")

# What n counts: runs; pairs of members in all runs, clustered by run; runs, each a success when all its pairs are.
RUNS, PAIRS, WHOLE_RUNS = "runs", "pairs", "whole runs"
_SHARED = (*CONDITION, "phase")

# The path of what is a whole trial's whose pairs have different paths.
SEVERAL = "several"

Key = tuple[str, ...]
# The cell's keys and metric, its path, what n counts, unit, estimate.
_Row = tuple[Key, str, str, str, Estimate]


def summarise(records: pd.DataFrame) -> pd.DataFrame:
    """Summarise records (the frame of `harness.results.frame`) to one row per cell and metric.

    The columns are `COLUMNS`: the cell's keys (text, empty where there is none; `params` as canonical JSON), metric,
    over (what n counts), n, estimate, ci_low, ci_high (in `unit`; NaN: none, inf: beyond the deadline), method, the
    number of trials of that cell in which this metric failed, was unsupported, invalid or an error, the overlay's
    layer, and of what a path costs the path, a row for each that its pairs took (empty for what is of all paths).

    Trials that are invalid, unsupported or in error never count in n. Several values of one trial and direction are
    first reduced to their median: the run is the unit. Where a run has several pairs of members, further rows without
    `src` and `dst` pool them: over all pairs, with an interval that knows that pairs of one run are not independent,
    and for successes over runs of which all pairs succeeded.
    """
    if records.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    frame = cells(records)
    frame["path"] = _path_of(frame)
    frame["facts"] = frame["pair"].astype(str)
    per_run = _measured(_per_run(frame))
    found = [*_per_cell(per_run), *_over_pairs(per_run)]
    table = pd.DataFrame([key for key, *_ in found], columns=[*CELL, "metric"])
    table["path"] = [path for _, path, *_ in found]
    table["over"] = [over for _, _, over, *_ in found]
    for name, attribute in (("n", "n"), ("estimate", "value"), ("ci_low", "low"), ("ci_high", "high")):
        table[name] = [getattr(one, attribute) for *_, one in found]
    table["unit"] = [unit for *_, unit, _ in found]
    table["method"] = [one.method for *_, one in found]
    layers = frame.loc[frame["layer"].notna()].groupby("overlay", sort=False)["layer"].first()
    table["layer"] = table["overlay"].map(layers).astype(object).fillna("").astype("str")
    return _with_counts(table, frame)[list(COLUMNS)]


def _measured(per_run: pd.DataFrame) -> pd.DataFrame:
    """Return the rows without those that have no value, on whatever path, where others of their cell have one."""
    has = per_run["value"].notna()
    return per_run[has | ~has.groupby([per_run[name] for name in (*CELL, "metric")]).transform("any")]


def _path_of(frame: pd.DataFrame) -> list[str]:
    """Return each record's path, as the path probe found it of its pair; empty for what is of all paths."""
    seen = frame[(frame["metric"] == "connect_success") & frame["path"].notna()]
    of_pair: dict[tuple[str, frozenset[str]], str] = {}
    of_trial: dict[str, str] = {}
    for trial, src, dst, path in seen[["trial", "src", "dst", "path"]].itertuples(index=False, name=None):
        of_pair[trial, frozenset((src, dst))] = path
        of_trial[trial] = path if of_trial.get(trial, path) == path else SEVERAL
    told = {name: is_of_a_path(name) for name in frame["metric"].unique()}
    return [
        of_pair.get((trial, frozenset((src, dst))), of_trial.get(trial, "")) if told[metric] else ""
        for trial, src, dst, metric in zip(*(frame[n] for n in ("trial", "src", "dst", "metric")), strict=True)
    ]


def _per_cell(per_run: pd.DataFrame) -> list[_Row]:
    rows: list[tuple[Key, str, str, Estimate | None]] = []
    waiting: list[list[float]] = []  # medians are estimated together, which is much faster
    for (*key, path), group in per_run.groupby([*CELL, "metric", "path"], sort=False):
        values = as_floats(group["value"].dropna())
        done = None
        if metric_of(str(key[-1])).estimator == "proportion":
            done = proportion(round(float(values.sum())), values.size)
        else:
            waiting.append(list(values))
        rows.append((tuple(map(str, key)), str(path), str(group["unit"].iloc[0]), done))
    estimated = iter(medians(waiting))
    return [(key, path, RUNS, unit, next(estimated) if done is None else done) for key, path, unit, done in rows]


def _over_pairs(per_run: pd.DataFrame) -> Iterator[_Row]:
    directed = per_run[(per_run["src"] != "") & per_run["value"].notna()]
    ends = [" ".join(sorted(pair)) for pair in zip(directed["src"], directed["dst"], strict=True)]
    directed = directed.assign(pair=ends)
    counts = directed.groupby([*_SHARED, "metric"], sort=False)["pair"].transform("nunique")
    for (*key, path), group in directed[counts > 1].groupby([*_SHARED, "metric", "path"], sort=False):
        metric, unit = str(key[-1]), str(group["unit"].iloc[0])
        by_pair = group.groupby(["trial", "pair"], sort=False)["value"].agg(partial(over_ways, metric))
        trials = by_pair.index.get_level_values("trial")
        shared = (*map(str, key[:-1]), "", "", metric)
        of_pairs = estimate(metric, list(by_pair), list(trials))
        nats = map(nats_between, group["facts"], group["src"], group["dst"])
        kinds = {None if of_pair is None else tuple(sorted(of_pair)) for of_pair in nats}
        if len(kinds) > 1 and metric_of(metric).estimator == "proportion":
            # Which pairs succeed is set by their NATs, and those were chosen: an interval would be one of the choice.
            method = f"proportion of pairs behind {len(kinds)} different pairs of NATs; no interval"
            of_pairs = Estimate(of_pairs.n, of_pairs.value, np.nan, np.nan, method)
        yield shared, str(path), PAIRS, unit, of_pairs
        if metric_of(metric).estimator == "proportion":
            whole = by_pair.groupby(level="trial", sort=False).agg(partial(over_pairs, metric))
            yield shared, "", WHOLE_RUNS, unit, proportion(round(float(whole.sum())), whole.size)


def _per_run(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per cell, metric and trial."""
    frame = frame.assign(value=counted_values(frame))
    keys = [*CELL, "metric", "path", "trial"]
    if not frame.duplicated(keys).any():
        return frame
    return frame.groupby(keys, sort=False, as_index=False).agg({"value": "median", "unit": "first", "facts": "first"})


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
