"""What a server's death did to computations: by subject, how much went on meanwhile and how long all took to go on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import pandas as pd

from harness.results import statistics
from harness.results.cells import cells, counted_values
from harness.results.conditions import varied_parameters
from harness.results.samples import inside
from harness.results.statistics import Estimate

FIGURES: Final = (
    "availability",
    "availability_after",
    "coasted_s",
    "rounds_recovery_s",
    "overlay_recovery_s",
    "tcp_recovery_s",
)
# Fewer rounds than half are an outage; nine in ten are none.
_OUT, _ON = 0.5, 0.9

Judgement = Literal["stopped", "went on", "in between"]


@dataclass(frozen=True)
class Outage:
    """One subject in one condition (`params` as canonical JSON); `figures` by metric, n 0 where there is none.

    `condition` is what tells its condition from the run's others, as text; empty where there is but one.
    """

    subject: tuple[str, str]
    params: str
    figures: dict[str, Estimate]
    condition: str = ""

    @property
    def judgement(self) -> Judgement:
        """Return what the interval says; with one trial, what it was."""
        share = self.figures["availability"]
        low, high = (share.value if math.isnan(end) else end for end in (share.low, share.high))
        if high < _OUT:
            return "stopped"
        return "went on" if low >= _ON else "in between"


def outages(records: pd.DataFrame) -> list[Outage]:
    """Return the outages of a run, by subject and condition; empty where none was looked at."""
    frame = cells(records.reset_index(drop=True))
    frame["value"] = counted_values(frame)
    rows = frame[(frame["probe"] == "availability") & frame["value"].notna()]
    found = []
    told = varied_parameters(rows["params"])
    for (overlay, mode, params), group in rows.groupby(["overlay", "mode", "params"], sort=True):
        figures = {name: statistics.median(list(group.loc[group["metric"] == name, "value"])) for name in FIGURES}
        if figures["availability"].n:
            found.append(Outage((str(overlay), str(mode)), str(params), figures, told[str(params)]))
    return found


def shares_over_time(run_dir: Path, records: pd.DataFrame) -> pd.DataFrame:
    """Return trial, overlay, mode, condition (as in `Outage`), since_s and share of every step of every trial.

    From the evidence that is there.
    """
    rows = cells(records.reset_index(drop=True))
    rows = rows[(rows["metric"] == "availability") & rows["evidence"].notna()]
    rows = rows.assign(condition=rows["params"].map(varied_parameters(rows["params"])))
    return pd.concat([_EMPTY, *_samples(run_dir, rows)], ignore_index=True)


_EMPTY = pd.DataFrame({"trial": [], "overlay": [], "mode": [], "condition": [], "since_s": [], "share": []}).astype(
    {"trial": "str", "overlay": "str", "mode": "str", "condition": "str", "since_s": "float64", "share": "float64"}
)


def _samples(run_dir: Path, rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    names = ("trial", "overlay", "mode", "condition", "outcome", "evidence")
    for trial, overlay, mode, condition, outcome, evidence in zip(
        *(rows[name].astype(str) for name in names), strict=True
    ):
        path = inside(run_dir, evidence)
        if path is None or outcome != "ok":
            continue
        try:
            samples = pd.read_csv(path, usecols=["since_s", "share"], dtype="float64")
        except (OSError, ValueError):
            continue
        yield samples.assign(trial=trial, overlay=overlay, mode=mode, condition=condition)[list(_EMPTY)]
