"""One row per trial with what the trial list and analysts need: its cell, its outcome, its paths and main metrics."""

from __future__ import annotations

from collections.abc import Sequence

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
    wide = pairs[pairs["trial"].isin(several)]
    metrics = metrics_in_tables()
    # All values at once, and each trial's rows by their places: a frame that is filtered for each trial takes minutes.
    values = np.array([as_floats(wide[metric.name]) for metric in metrics]).reshape(len(metrics), len(wide))
    words = wide[["src", "nat_a", "nat_b", "path", "path_claimed"]].astype(object)
    found = {
        trial: _of_several(words.iloc[places], values[:, places], metrics)
        for trial, places in wide.groupby("trial", sort=False).indices.items()
    }
    over = pd.DataFrame.from_dict(found, orient="index")
    for name in map(str, over):
        told = over[name].dropna() if name in ("nat_a", "nat_b") else over[name]
        table.loc[told.index, name] = told
    return table.reset_index()


def _of_several(rows: pd.DataFrame, values: np.ndarray, metrics: Sequence[Metric]) -> dict[str, object]:
    """Return what a trial of several pairs has in place of one pair's; `values` has a row for each metric."""
    real = rows[rows["src"] != ""]
    nats = SEVERAL if len(set(zip(real["nat_a"], real["nat_b"], strict=True))) > 1 else None
    mixed = rows.loc[rows["path"] != SEVERAL, "path"].nunique() > 1
    whole = (rows["src"] == "").to_numpy() if mixed else np.full(len(rows), True)
    return {
        "nat_a": nats,
        "nat_b": nats,
        "path": path_text(list(real["path"])),
        "path_claimed": path_text([claim for claim in rows["path_claimed"] if claim]),
    } | {
        metric.name: _over_pairs(metric, own[whole] if is_of_a_path(metric.name) else own)
        for metric, own in zip(metrics, values, strict=True)
    }


def _over_pairs(metric: Metric, values: np.ndarray) -> float:
    values = values[~np.isnan(values)]
    if not values.size:
        return float("nan")
    match metric.pairs:
        case "all":
            return float(values.min())
        case "any":
            return float(values.max())
        case "median":
            return middle(values)
