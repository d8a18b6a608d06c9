"""One row per event, pair of members and trial: what tables of phases show. Phases are never pooled."""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np
import pandas as pd

from harness.results.cells import cells, counted_values
from harness.results.metrics import METRICS
from harness.results.statistics import as_floats

_KEYS = ("trial", "phase", "src", "dst")
AT = "event_at_s"


def phases_frame(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row per trial, phase and pair: overlay, mode, outcome, path, and the metrics of phases.

    Rows stand in the order of events. What is measured once a trial stands in the row of each pair; `event_at_s` of the
    time before the first event is NaN. `deadline_s` is how long after the event the traffic went on; NaN: unknown.
    """
    names = [metric.name for metric in METRICS.values() if metric.by_phase]
    records = records.reset_index(drop=True)
    frame = cells(records)
    kept = (frame["phase"] != "") & frame["metric"].isin(names)
    columns = [*_KEYS, "overlay", "mode", "outcome", "path", "deadline_s", *names]
    if not kept.any():
        return pd.DataFrame(columns=columns)
    frame["value"] = counted_values(frame)
    frame = frame[kept]
    of_trial = frame[frame["src"] == ""]
    rows = frame[frame["src"] != ""]
    table = rows.pivot_table(index=list(_KEYS), columns="metric", values="value", aggfunc="mean", dropna=False)
    order = pd.MultiIndex.from_frame(rows[list(_KEYS)].drop_duplicates())
    table = table.reindex(order).reset_index()
    for name in names:
        if name not in table:
            table[name] = np.nan
    for metric, group in of_trial.groupby("metric", sort=False):
        values = dict(zip(zip(group["trial"], group["phase"], strict=True), group["value"], strict=True))
        table[str(metric)] = [values.get(key, np.nan) for key in zip(table["trial"], table["phase"], strict=True)]
    known = rows.assign(path=rows["path"].astype(object).where(rows["path"].notna(), ""))
    firsts = known.drop_duplicates(list(_KEYS)).set_index(list(_KEYS))
    table = table.join(firsts[["overlay", "mode", "outcome", "path"]], on=list(_KEYS))
    lasted = {
        str(trial): _lasted_s(str(params))
        for trial, params in records.drop_duplicates("trial")[["trial", "params"]].itertuples(index=False, name=None)
    }
    left_s = table["trial"].map(lasted).astype(float) - table[AT].clip(lower=0)
    # As people read it; rounded down, so that "beyond" stays true.
    table["deadline_s"] = np.floor(10 * left_s) / 10
    return table[columns]


def phase_order(rows: pd.DataFrame) -> list[str]:
    """Return the phases in the order in which they begin; the one before the first event comes first."""
    begins = rows.groupby("phase", sort=False)[AT].median()
    places = {str(name): number for number, name in enumerate(begins.index)}
    moment = {str(name): -np.inf if np.isnan(at) else float(at) for name, at in begins.items()}
    return sorted(places, key=lambda name: (moment[name], places[name]))


def moments(rows: pd.DataFrame) -> list[tuple[str, float]]:
    """Return each event with the median of the moments at which it took effect, in seconds since the traffic began."""
    found = [(phase, float(np.median(as_floats(rows.loc[rows["phase"] == phase, AT])))) for phase in phase_order(rows)]
    return [(phase, at) for phase, at in found if not np.isnan(at)]


@lru_cache(maxsize=4096)
def _lasted_s(params: str) -> float:
    return float(json.loads(params).get("continuity_s", np.nan)) if params.startswith("{") else float("nan")
