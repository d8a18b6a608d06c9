"""From records to the tidy summary: a row per cell and metric, with n, estimate, interval and what did not count."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from harness.results.cells import CELL, CONDITION, cells, counted_values
from harness.results.metrics import metric_of
from harness.results.record import INSTEAD
from harness.results.statistics import Estimate, as_floats, medians, proportion

COUNTS = INSTEAD
COLUMNS = (*CELL, "metric", "n", "estimate", "ci_low", "ci_high", "unit", "method", *COUNTS)

Key = tuple[str, ...]


def summarise(records: pd.DataFrame) -> pd.DataFrame:
    """Summarises records (the frame of `harness.results.frame`) to one row per cell and metric.

    The columns are `COLUMNS`: the cell's keys (text, empty where there is none; `params` as canonical JSON), metric, n
    (runs that count), estimate, ci_low, ci_high (in `unit`; NaN: none, inf: beyond the deadline), method, and the
    number of trials of that cell in which this metric failed, was unsupported, invalid or an error. Trials that are
    invalid, unsupported or in error never count in n. Several values of one trial are first reduced to their median:
    the run is the unit.
    """
    if records.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    frame = cells(records)
    per_run = _per_run(frame)
    rows = per_run.groupby([*CELL, "metric"], sort=False)
    keys: list[tuple[object, ...]] = []
    units: list[str] = []
    estimates: list[Estimate | None] = []
    waiting: list[list[float]] = []
    for key, group in rows:
        metric, unit = str(key[-1]), str(group["unit"].iloc[0])
        values = as_floats(group["value"].to_numpy())
        values = values[~np.isnan(values)]
        keys.append(key)
        units.append(unit)
        if metric_of(metric).estimator == "proportion":
            estimates.append(proportion(round(float(values.sum())), values.size))
        else:
            estimates.append(None)
            waiting.append(list(values))
    done = iter(medians(waiting))
    table = pd.DataFrame(keys, columns=[*CELL, "metric"])
    final = [estimate if estimate is not None else next(done) for estimate in estimates]
    table["n"] = [estimate.n for estimate in final]
    table["estimate"] = [estimate.value for estimate in final]
    table["ci_low"] = [estimate.low for estimate in final]
    table["ci_high"] = [estimate.high for estimate in final]
    table["unit"] = units
    table["method"] = [estimate.method for estimate in final]
    return _with_counts(table, frame)[list(COLUMNS)]


def _per_run(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per cell, metric and trial."""
    frame = frame.assign(value=counted_values(frame))
    keys = [*CELL, "metric", "trial"]
    if not frame.duplicated(keys).any():
        return frame
    return frame.groupby(keys, sort=False, as_index=False).agg({"value": "median", "unit": "first"})


def _with_counts(table: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Adds how many trials of the cell did not give this metric, by reason.

    A trial that ended early has no record of most metrics, so its own outcome speaks for those it lacks.
    """
    outcome_of: dict[Key, dict[str, str]] = {}
    names = [*CELL, "metric", "trial", "outcome"]
    for row in zip(*(frame[name] for name in names), strict=True):
        outcome_of.setdefault(row[:-2], {})[row[-2]] = row[-1]
    of_condition: dict[Key, dict[str, str]] = {}
    for key, outcomes in outcome_of.items():
        if key[-1] == "duration_s":
            of_condition.setdefault(key[: len(CONDITION)], {}).update(outcomes)
    counts = []
    for key in table[[*CELL, "metric"]].itertuples(index=False, name=None):
        tally = Counter((of_condition.get(key[: len(CONDITION)], {}) | outcome_of[key]).values())
        counts.append([tally[name] for name in COUNTS])
    table[list(COUNTS)] = np.asarray(counts, dtype=np.int64).reshape(-1, len(COUNTS))
    return table
