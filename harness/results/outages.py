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
from harness.results.conditions import told_apart
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
# So large a share of the rounds before is as many as before, but for noise; so few are those of coasting on.
_ON, _OUT, _NEARLY_NONE = 0.9, 0.5, 0.1

# *went on*: at least nine in ten of the rounds. *stopped*: less than half, and a round stalled (`coasted_s`: a second,
# or 20 usual rounds; where it is not recorded, at most one in ten tells). *degraded*: fewer than nine in ten, but not
# stopped: they were slower, or paused. *undecided*: the interval holds several of these.
Judgement = Literal["stopped", "degraded", "went on", "undecided"]


@dataclass(frozen=True)
class Outage:
    """One subject in one condition (`params` as canonical JSON); `figures` by metric, n 0 where there is none.

    `condition` is what tells its condition (topology, engine, parameters) from the run's others, as text; empty where
    there is but one.
    """

    subject: tuple[str, str]
    params: str
    figures: dict[str, Estimate]
    condition: str = ""

    @property
    def judgement(self) -> Judgement:
        """Return what the interval says, by the rule above; with one trial, what it was."""
        share, stalled = self.figures["availability"], self.figures["coasted_s"]
        low, high = (share.value if math.isnan(end) else end for end in (share.low, share.high))
        if low >= _ON:
            return "went on"
        ends = [stalled.value if math.isnan(end) else end for end in (stalled.low, stalled.high)]
        always, ever = (math.isfinite(end) if stalled.n else high <= _NEARLY_NONE for end in (ends[1], ends[0]))
        if high < _OUT and always:
            return "stopped"
        return "degraded" if high < _ON and (low >= _OUT or not ever) else "undecided"


def outages(records: pd.DataFrame) -> list[Outage]:
    """Return the outages of a run, by subject and condition; empty where none was looked at."""
    frame = cells(records.reset_index(drop=True))
    frame["value"] = counted_values(frame)
    rows = frame[(frame["probe"] == "availability") & frame["value"].notna()]
    found = []
    rows = rows.assign(condition=told_apart(rows))
    keys = ["overlay", "mode", "params", "condition"]
    for (overlay, mode, params, condition), group in rows.groupby(keys, sort=True):
        figures = {name: statistics.median(list(group.loc[group["metric"] == name, "value"])) for name in FIGURES}
        if figures["availability"].n:
            found.append(Outage((str(overlay), str(mode)), str(params), figures, str(condition)))
    return found


def shares_over_time(run_dir: Path, records: pd.DataFrame) -> pd.DataFrame:
    """Return trial, overlay, mode, condition (as in `Outage`), since_s and share of every step of every trial.

    From the evidence that is there.
    """
    rows = cells(records.reset_index(drop=True))
    rows = rows[(rows["metric"] == "availability") & rows["evidence"].notna()]
    rows = rows.assign(condition=told_apart(rows))
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
