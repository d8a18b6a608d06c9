"""Hosts as blocks of a run: differences of overlays are taken within them, and their own are told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from harness.results.cells import CONDITION
from harness.results.clusters import estimate
from harness.results.compare import MACHINE_BOUND
from harness.results.differences import hosts_that_ran, kind_of
from harness.results.loading import Results
from harness.results.metrics import METRICS, is_of_a_path
from harness.results.pairs import counted
from harness.results.statistics import Estimate

# Figures of a machine that users look for first: those whose spread between hosts is told.
TOLD: Final = ("rtt_p50_ms", "tcp_throughput_mbit", "time_to_connect_s")
_CELL: Final = [name for name in CONDITION if name not in ("overlay", "mode")]
_PAIR: Final = ["src", "dst", "phase"]


@dataclass(frozen=True)
class HostEffect:
    """One metric of one subject over hosts; `path`: of what a path costs, the path, else empty.

    `by_host`: the median on each, of the cells that several hosts saw; `spread`: largest minus smallest of the hosts'
    medians relative to their cell's, 0.1 is 10 %; `within`: overlay minus underlay, paired by block on one host, None
    for the underlay; without an interval where it is over several cells, whose NATs were chosen.
    """

    subject: tuple[str, str]
    metric: str
    by_host: Mapping[str, float]
    spread: float
    within: Estimate | None
    path: str = ""


def effects(pairs: pd.DataFrame) -> list[HostEffect]:
    """Return what hosts do to the figures of each subject that several of them measured in the same cells.

    What a path costs is taken path by path: which path a trial got by chance is no effect of its host.
    """
    rows = counted(pairs)
    rows = rows[rows["host"].isin([host for host in set(rows["host"]) if host])]
    found = []
    for key, group in rows.groupby(["overlay", "mode"], sort=False):
        subject = (str(key[0]), str(key[1]))
        for metric in TOLD:
            values = group[np.isfinite(group[metric])]
            of_paths = values.groupby("path", sort=False) if is_of_a_path(metric) else [("", values)]
            for path, part in of_paths:
                if (one := _effect(rows, part, subject, metric, str(path))) is not None:
                    found.append(one)
    return found


def _effect(
    rows: pd.DataFrame, values: pd.DataFrame, subject: tuple[str, str], metric: str, path: str
) -> HostEffect | None:
    shared = values[values.groupby(_CELL)["host"].transform("nunique") > 1]
    if shared.empty:
        return None
    of_cell = shared.groupby([*_CELL, "host"])[metric].median().reset_index()
    relative = of_cell[metric] / of_cell.groupby(_CELL)[metric].transform("median") - 1
    effect = relative.groupby(of_cell["host"]).median()
    by_host = {str(host): float(value) for host, value in shared.groupby("host")[metric].median().items()}
    within = None
    if subject[0] != "underlay":
        pairs = _paired(rows, values, metric)
        within = estimate(metric, [float(one) for one in pairs["difference"]], list(pairs["trial"]))
        if (many := len(pairs.drop_duplicates(_CELL))) > 1:
            within = Estimate(within.n, within.value, np.nan, np.nan, f"median over {many} cells; no interval")
    return HostEffect(subject, metric, by_host, float(effect.max() - effect.min()), within, path)


def paired(rows: pd.DataFrame, subject: tuple[str, str], metric: str) -> list[float]:
    """Return overlay minus underlay, a value a block and pair of members, both measured on one host.

    Rows of a block that ran on another host than its underlay are left out: their difference would be the hosts'.
    """
    own = rows[(rows["overlay"] == subject[0]) & (rows["mode"] == subject[1])]
    return [float(value) for value in _paired(rows, own, metric)["difference"]]


def _paired(rows: pd.DataFrame, own: pd.DataFrame, metric: str) -> pd.DataFrame:
    keys = ["seed", "host", *_CELL, *_PAIR]
    below = rows.loc[rows["overlay"] == "underlay", [*keys, metric]]
    both = own[[*keys, "trial", metric]].merge(below, on=keys, suffixes=("", "_below"))
    both = both.assign(difference=both[metric] - both[f"{metric}_below"])
    found: pd.DataFrame = both[np.isfinite(both["difference"])]
    return found


def seen_on_one(pairs: pd.DataFrame) -> tuple[int, int]:
    """Return how many cells were repeated on one host alone, and how many were repeated."""
    rows = counted(pairs)
    of_cell = rows.groupby(list(CONDITION)).agg(trials=("trial", "nunique"), hosts=("host", "nunique"))
    repeated = of_cell[of_cell["trials"] > 1]
    return int((repeated["hosts"] == 1).sum()), len(repeated)


def seen_once(pairs: pd.DataFrame) -> int:
    """Return how many cells one trial measured, on one host therefore."""
    trials = counted(pairs).groupby(list(CONDITION))["trial"].nunique()
    return int((trials == 1).sum())


def alike(base: Results, new: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the records of two runs such that what a machine decides is compared with the same kind's alone.

    Where both ran on the same several kinds, those metrics of one kind become cells of their own; else the records
    are as they were.
    """
    kinds = [_kinds(results) for results in (base, new)]
    if set(kinds[0].values()) != set(kinds[1].values()) or len(set(kinds[0].values())) < 2:
        return base.records, new.records
    return _by_kind(base.records, kinds[0]), _by_kind(new.records, kinds[1])


def _by_kind(records: pd.DataFrame, kinds: Mapping[str, str]) -> pd.DataFrame:
    bound = records["metric"].isin(MACHINE_BOUND) & records["host"].isin(list(kinds))
    named = [
        _with(params, kinds[host]) if is_bound else params
        for params, host, is_bound in zip(records["params"], records["host"], bound, strict=True)
    ]
    return records.assign(params=pd.Series(named, index=records.index))


def _with(params: Any, kind: str) -> Any:
    said = json.loads(params) if isinstance(params, str) else dict(params)
    said["host"] = kind
    return json.dumps(said, sort_keys=True, separators=(",", ":")) if isinstance(params, str) else said


def _kinds(results: Results) -> dict[str, str]:
    """Return the kind of each host that ran a run's trials in words, by id."""
    hosts = hosts_that_ran(results)
    return {key: ", ".join(map(str, kind_of(facts.get("machine") or {}))) for key, facts in hosts.items()}


def unit(metric: str) -> str:
    """Return a metric's unit."""
    return METRICS[metric].unit
