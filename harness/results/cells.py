"""The cell: what two measurements share when one repeats the other. Its one definition, for everything that pools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from harness.results.frame import canonical_json
from harness.results.metrics import metric_of
from harness.results.record import COUNTED
from harness.results.statistics import as_floats

# What trials share; `params` without bounds. The host is no part of it: hosts are blocks of one cell. What emulated the
# links is: netem drops bundles where userlink drops frames, and loss of one does not compare with that of the other.
CONDITION = ("overlay", "mode", "topology", "nat_a", "nat_b", "link", "params", "engine", "link_backend")
# What is known of a trial before it runs.
_PLANNED = tuple(name for name in CONDITION if name != "link_backend")
# What measurements share: within a trial there are several pairs of members, and phases before and after an event.
CELL = (*CONDITION, "phase", "src", "dst")

# Where a measurement gave up; it is a bound of the value, not a condition under which it was taken.
BOUNDS = ("deadline_s",)

CellKey = tuple[str, ...]


def cell_key(fields: Mapping[str, Any]) -> CellKey:
    """Return the condition of a record or trial, given as its fields; equal keys are repeats of one another.

    What emulates the links is not known before a trial has run; in one run it is the same for all.
    """
    params = canonical_json({key: value for key, value in fields["params"].items() if key not in BOUNDS})
    known = {**fields, "params": params, "engine": fields.get("engine") or "emulated"}
    return tuple(str(known[name] or "") for name in _PLANNED)


def cell_name(key: CellKey) -> str:
    """Return the key as people read it."""
    usual = {"", "{}", "emulated"}
    return " ".join(part for part in dict.fromkeys(key) if part not in usual)


def cells(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with their cell's keys as plain text and bounds taken out of `params`.

    What was measured before its trial turned out to be invalid, or an error, has the trial's outcome: runs of earlier
    versions say so in the terminating record alone.
    """
    frame = records.copy()
    for name in (*CELL, "trial", "metric", "probe", "outcome", "unit"):
        frame[name] = frame[name].astype(object).where(frame[name].notna(), "")
    frame["params"] = [without_bounds(text) for text in frame["params"]]
    frame["link_backend"] = link_backends(frame)
    ends = frame[(frame["probe"] == "trial") & (frame["metric"] == "duration_s") & ~frame["outcome"].isin(COUNTED)]
    if len(ends):
        of_trial = frame["trial"].map(dict(zip(ends["trial"], ends["outcome"], strict=True)))
        frame["outcome"] = of_trial.where(of_trial.notna(), frame["outcome"])
    return frame


# What makes the links of two trials alike, whatever emulates them.
_LINKS = ["topology", "link", "params"]


def link_backends(frame: pd.DataFrame) -> pd.Series:
    """Return what emulated each row's links, empty where there are none to emulate, or nobody knows.

    A trial that ended before its lab stood has what the others of the same links have, where that is one.
    """
    known = frame["link_backend"].where(frame["link_backend"] != "none", "")
    if known.nunique() < 2 or not (known == "").any():
        return known
    told = frame[_LINKS].assign(backend=known).drop_duplicates()
    alone = told[told["backend"] != ""].drop_duplicates(_LINKS, keep=False)
    of_links = dict(zip(alone[_LINKS].itertuples(index=False, name=None), alone["backend"], strict=True))
    rest = known == ""
    known = known.copy()
    known[rest] = [of_links.get(key, "") for key in frame.loc[rest, _LINKS].itertuples(index=False, name=None)]
    return known


def differ(backends: pd.Series) -> bool:
    """Tell whether links were emulated in several ways; those that need no emulation are none."""
    return bool(backends[~backends.isin(["", "none"])].nunique() > 1)


@lru_cache(maxsize=65536)
def without_bounds(params: str) -> str:
    """Return canonical JSON of the parameters that are conditions."""
    return canonical_json({key: value for key, value in json.loads(params).items() if key not in BOUNDS})


def counted_values(frame: pd.DataFrame) -> pd.Series:
    """Return the value of each record as statistics see it: NaN where it does not count, inf where it was censored.

    Counted are the outcomes ok and failed; a time without value whose metric is censored at a deadline is inf.
    """
    values = as_floats(frame["value"].to_numpy(dtype=np.float64, na_value=np.nan))
    counts = frame["outcome"].isin(COUNTED).to_numpy()
    censored = frame["metric"].map(lambda name: metric_of(name).estimator == "censored median").to_numpy(dtype=bool)
    values = np.where(np.isnan(values) & censored, np.inf, values)
    return pd.Series(np.where(counts, values, np.nan), index=frame.index)
