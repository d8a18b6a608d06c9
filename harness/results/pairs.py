"""One row per pair of members and trial: what tables and plots pool. The rule is that of `harness.results.paths`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from harness.model.nat_order import nat_rank
from harness.results.cells import CONDITION, cells, counted_values
from harness.results.declared import Metric
from harness.results.metrics import metrics_in_tables
from harness.results.record import COUNTED
from harness.results.statistics import as_floats

# The path, and the NATs, of what is a whole trial's whose pairs differ in them: it is no pair's.
SEVERAL = "several"
PAIR_KEYS = ("trial", "phase", "src", "dst")
_OF_TRIAL = (
    *CONDITION,
    "repeat",
    "seed",
    "outcome",
    "error",
    "nat_a_observed",
    "nat_b_observed",
    "host",
    "layer",
    "pair",
)


def pairs_frame(records: pd.DataFrame, chosen: Sequence[Metric] | None = None) -> pd.DataFrame:
    """Return one row per trial, phase and pair of members, its cell's condition, path and metrics of tables.

    `chosen` are other metrics to have as columns.

    `src` and `dst` are the pair; both ways are one row. `nat_a` and `nat_b` are the NATs in front of the two, as probes
    found them where none was declared. A value is NaN where nothing counted and inf where it was censored; figures of
    the instrument itself (lateness, duration) are there for all trials. What is measured once a trial stands in the row
    of its first pair, or, where the trial's pairs have different paths, in a row without a pair whose path is
    `several`. `layer` is empty where records do not tell.
    A trial that measured no pair has one row, without a pair. `deadline_s` is NaN where unknown.
    """
    records = records.reset_index(drop=True)
    frame = cells(records)
    ends = frame[(frame["probe"] == "trial") & (frame["metric"] == "duration_s")]
    of_trial = ends[["trial", *_OF_TRIAL]].set_index("trial")
    of_trial["layer"] = of_trial["layer"].astype(object).where(of_trial["layer"].notna(), "")
    frame["src"], frame["dst"] = _in_order(frame)
    measured = as_floats(frame["value"].to_numpy(dtype=np.float64, na_value=np.nan))
    chosen = metrics_in_tables() if chosen is None else chosen
    metrics = [metric.name for metric in chosen]
    # These tell of the instrument, not of the subject: those of invalid trials are what one wants to see.
    of_instrument = [metric.name for metric in chosen if metric.of_instrument]
    frame["value"] = np.where(frame["metric"].isin(of_instrument), measured, counted_values(frame))
    frame = frame[frame["trial"].isin(of_trial.index)]
    values = _values(frame[frame["metric"].isin(metrics) & frame["value"].notna()], chosen)
    paths = _paths(frame)
    order = pd.MultiIndex.from_frame(frame[list(PAIR_KEYS)].drop_duplicates())
    table = _with_trial_rows(values, paths, order, of_trial.index)
    # All at once: one by one each would be a block of its own, and every later look slower.
    table = table.reindex(columns=[*table.columns, *(name for name in metrics if name not in table)])
    table = table.join(of_trial, on="trial")
    table["deadline_s"] = table["trial"].map(_deadlines(records, frame))
    _label(table)
    first = ["trial", *CONDITION, "phase", "src", "dst", "repeat", "seed", "outcome", "error"]
    names = [*first, "nat_a_observed", "nat_b_observed", "host", "layer"]
    names += ["path", "path_claimed", "deadline_s", *metrics]
    table = table[names].reset_index(drop=True)
    return table.astype({name: "str" for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])})


def counted(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of trials that count: what an invalid one saw was seen in another lab than was asked for."""
    return rows[rows["outcome"].isin(COUNTED)]


def _in_order(frame: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return both ends of each record in the order in which the path probe, or else the first probe, named them."""
    named = frame.loc[frame["src"] != "", ["trial", "src", "dst", "metric"]]
    named = pd.concat([named[named["metric"] == "connect_success"], named])
    first: dict[tuple[str, frozenset[str]], tuple[str, str]] = {}
    for trial, src, dst in named[["trial", "src", "dst"]].drop_duplicates().itertuples(index=False, name=None):
        first.setdefault((trial, frozenset((src, dst))), (src, dst))
    turned = {(trial, dst, src) for (trial, _), (src, dst) in first.items()}
    back = [key in turned for key in zip(frame["trial"], frame["src"], frame["dst"], strict=True)]
    away = np.asarray(back, dtype=bool) & (frame["src"] != frame["dst"]).to_numpy()
    src = frame["src"].where(~away, frame["dst"])
    return src, frame["dst"].where(~away, frame["src"])


def _values(kept: pd.DataFrame, chosen: Sequence[Metric]) -> pd.DataFrame:
    """Return a column per metric and a row per trial, phase and pair (or none)."""
    grouped = kept.groupby([*PAIR_KEYS, "metric"], sort=False)["value"]
    values = grouped.mean().unstack("metric")
    for way, worst in (("smaller", grouped.min()), ("larger", grouped.max())):
        names = [metric.name for metric in chosen if metric.ways == way]
        for metric in values.columns.intersection(names):
            values[metric] = worst.unstack("metric")[metric]
    return values


def _paths(frame: pd.DataFrame) -> pd.DataFrame:
    rows = frame[frame["metric"] == "connect_success"]
    paths = rows.drop_duplicates(list(PAIR_KEYS)).set_index(list(PAIR_KEYS))[["path", "path_claimed"]].astype(object)
    return paths.where(paths.notna(), "")


def _with_trial_rows(values: pd.DataFrame, paths: pd.DataFrame, order: pd.MultiIndex, trials: pd.Index) -> pd.DataFrame:
    """Return the rows of pairs in the order of their records, with what whole trials measured in its place."""
    table = values.join(paths, how="outer")
    table = table.reindex(order[order.isin(table.index)])
    table = table.reset_index()
    table[["path", "path_claimed"]] = table[["path", "path_claimed"]].fillna("")
    whole = table["src"] == ""
    # What a trial with a timeline measures outside of its phases goes with the first of them.
    phases = table[~whole].groupby("trial", sort=False)["phase"].agg(["first", "min"])
    outside = whole & (table["phase"] == "") & table["trial"].map(phases["min"]).astype(object).fillna("").ne("")
    table.loc[outside, "phase"] = table.loc[outside, "trial"].map(phases["first"])
    pairs, wholes = table[~whole], table[whole].drop(columns=["path", "path_claimed"])
    known = pairs[pairs["path"] != ""].groupby(["trial", "phase"], sort=False)["path"].nunique()
    several = known[known > 1].index
    firsts = pairs.drop_duplicates(["trial", "phase"]).set_index(["trial", "phase"]).index
    keys = pd.MultiIndex.from_frame(wholes[["trial", "phase"]])
    joins = keys.isin(firsts) & ~keys.isin(several)
    inner = wholes[joins].set_index(["trial", "phase"]).drop(columns=["src", "dst"]).dropna(axis=1, how="all")
    pairs = pairs.copy()
    first = ~pairs.duplicated(["trial", "phase"])
    at = pd.MultiIndex.from_frame(pairs.loc[first, ["trial", "phase"]])
    for metric in inner.columns:
        pairs.loc[first, metric] = pairs.loc[first, metric].fillna(
            pd.Series(inner[metric].reindex(at).array, pairs.index[first])
        )
    outer = wholes[~joins].assign(path="", path_claimed="")
    outer.loc[keys[~joins].isin(several), "path"] = SEVERAL
    rows = pd.concat([pairs, outer], ignore_index=True)
    missing = trials[~trials.isin(rows["trial"])]
    empty = pd.DataFrame({"trial": missing, "phase": "", "src": "", "dst": "", "path": "", "path_claimed": ""})
    rows = pd.concat([rows, empty], ignore_index=True)
    place = {trial: number for number, trial in enumerate(trials)}
    return rows.assign(at=rows["trial"].map(place)).sort_values("at", kind="stable").drop(columns="at")


def _deadlines(records: pd.DataFrame, frame: pd.DataFrame) -> dict[str, float]:
    rows = frame[frame["probe"] == "path"].drop_duplicates("trial")
    texts = records.loc[rows.index, "params"].astype(str)
    bounds = texts.str.extract(r'"deadline_s":([0-9.]+)')[0].astype(float)
    return dict(zip(rows["trial"], bounds, strict=True))


def _label(table: pd.DataFrame) -> None:
    """Set the NATs in front of the pair's two members; links stay the trial's."""
    for side in ("a", "b"):
        observed = table[f"nat_{side}_observed"].astype(object)
        declared = table[f"nat_{side}"].astype(object)
        table[f"nat_{side}"] = declared.where(declared.ne("") | observed.isna(), observed)
    sides: list[tuple[str, str]] = []
    for nat_a, nat_b, src, dst, facts in zip(
        *(table[n] for n in ("nat_a", "nat_b", "src", "dst", "pair")), strict=True
    ):
        sides.append(nats_between(str(facts), src, dst) or (nat_a, nat_b))
    table["nat_a"], table["nat_b"] = ([side[end] for side in sides] for end in (0, 1))


@lru_cache(maxsize=65536)
def nats_between(pair: str, src: str, dst: str) -> tuple[str, str] | None:
    """Return a pair's NATs by a record's `pair`; of more than two members the more permissive NAT comes first.

    What is no pair's has the NAT that all of more than two members have, or `several`. None where it does not tell.
    """
    facts = _facts(pair)
    if not src and len(facts) > 2:
        of_all = {str(fact.get("nat") or fact.get("nat_observed") or "") for fact in facts.values()}
        return (of_all.pop(),) * 2 if len(of_all) == 1 else (SEVERAL, SEVERAL)
    if src not in facts or dst not in facts:
        return None
    nats = [str(facts[name].get("nat") or facts[name].get("nat_observed") or "") for name in (src, dst)]
    return (nats[0], nats[1]) if len(facts) == 2 else tuple(sorted(nats, key=nat_rank))  # type: ignore[return-value]


@lru_cache(maxsize=65536)
def _facts(text: str) -> Mapping[str, Any]:
    found = json.loads(text) if text.startswith("{") else {}
    return found if isinstance(found, dict) else {}
