"""One row per trial with what the trial list and analysts need: its cell, its outcome, its paths and main metrics."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.results.declared import Metric
from harness.results.metrics import is_of_a_path, metrics_in_tables
from harness.results.pairs import SEVERAL, pairs_frame
from harness.results.paths import path_text
from harness.results.statistics import as_floats, middle


def trials_frame(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row per trial: its condition, repeat, seed, outcome, error, paths and `metrics_in_tables`.

    Of a trial with several pairs of members, `path` counts their paths ("9 direct, 1 relayed"), successes are those of
    all pairs, a black hole is that of any, and everything else is the median over pairs; what a path costs is NaN where
    pairs took several, since that median would lie where no pair is (`pairs_frame` has it of each). `pairs` says how
    many there were, `pairs_direct` how many punched a hole; `nat_a` and `nat_b` are `several` where they differ in
    NATs. With a timeline these are the figures of the first phase.
    """
    return trials_of(pairs_frame(records))


def trials_of(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return `trials_frame`'s rows from those of `pairs_frame`."""
    first = pairs.groupby("trial", sort=False)["phase"].transform("first")
    # What a trial measures outside of any phase (its start, its end) belongs to the trial whatever came first.
    pairs = pairs[(pairs["phase"] == first) | (pairs["phase"] == "") | (pairs["src"] == "")]
    table = pairs.drop_duplicates("trial").drop(columns=["phase", "src", "dst"]).set_index("trial")
    table = table.copy()  # in one piece again, for the columns that come
    real = pairs[pairs["src"] != ""]
    several = real["trial"][real["trial"].duplicated()].unique()
    counts = real.groupby("trial", sort=False)
    table["pairs"] = counts.size().reindex(table.index).fillna(0).astype(np.int64)
    direct = counts["hole_punch_success"].sum(min_count=1).reindex(table.index)
    table["pairs_direct"] = direct.fillna(0).astype(np.int64)
    for trial in several:
        rows = pairs[pairs["trial"] == trial]
        own = real.loc[real["trial"] == trial, ["nat_a", "nat_b"]]
        if len(own.drop_duplicates()) > 1:
            table.loc[trial, ["nat_a", "nat_b"]] = SEVERAL
        table.loc[trial, "path"] = path_text(list(real.loc[real["trial"] == trial, "path"]))
        claims = [claim for claim in rows["path_claimed"] if claim]
        table.loc[trial, "path_claimed"] = path_text(claims)
        of_whole = rows[rows["src"] == ""] if rows.loc[rows["path"] != SEVERAL, "path"].nunique() > 1 else rows
        for metric in metrics_in_tables():
            values = as_floats((of_whole if is_of_a_path(metric.name) else rows)[metric.name].dropna())
            table.loc[trial, metric.name] = _over_pairs(metric, values)
    return table.reset_index()


def _over_pairs(metric: Metric, values: np.ndarray) -> float:
    if not values.size:
        return float("nan")
    match metric.pairs:
        case "all":
            return float(values.min())
        case "any":
            return float(values.max())
        case "median":
            return middle(values)
