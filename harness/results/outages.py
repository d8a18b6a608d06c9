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
    """One subject in one condition (`params` as canonical JSON); `figures` by metric, n 0 where there is none."""

    subject: tuple[str, str]
    params: str
    figures: dict[str, Estimate]

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
    for (overlay, mode, params), group in rows.groupby(["overlay", "mode", "params"], sort=True):
        figures = {name: statistics.median(list(group.loc[group["metric"] == name, "value"])) for name in FIGURES}
        if figures["availability"].n:
            found.append(Outage((str(overlay), str(mode)), str(params), figures))
    return found


def shares_over_time(run_dir: Path, records: pd.DataFrame) -> pd.DataFrame:
    """Return trial, overlay, mode, since_s and share of every step of every trial, from the evidence that is there."""
    rows = records[(records["metric"] == "availability") & records["evidence"].notna()]
    return pd.concat([_EMPTY, *_samples(run_dir, rows)], ignore_index=True)


_EMPTY = pd.DataFrame({"trial": [], "overlay": [], "mode": [], "since_s": [], "share": []}).astype(
    {"trial": "str", "overlay": "str", "mode": "str", "since_s": "float64", "share": "float64"}
)


def _samples(run_dir: Path, rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for trial, overlay, mode, outcome, evidence in zip(
        *(rows[name].astype(str) for name in ("trial", "overlay", "mode", "outcome", "evidence")), strict=True
    ):
        path = inside(run_dir, evidence)
        if path is None or outcome != "ok":
            continue
        try:
            samples = pd.read_csv(path, usecols=["since_s", "share"], dtype="float64")
        except (OSError, ValueError):
            continue
        yield samples.assign(trial=trial, overlay=overlay, mode=mode)[list(_EMPTY)]
