"""How long a plan's trials will take and how large they will be, by what past runs took. Pure, from result folders."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.results.loading import Results
from harness.results.record import COUNTED

Source = Literal["overlay, mode and probes", "overlay, mode and kinds of probes", "kinds of probes", "own"]
# From a lab's beginning to its end without any probe, a second or two of it the overlay's.
_LAB_S = 5.0


@dataclass(frozen=True)
class Trial:
    """What decides a trial's duration: overlay, mode, its probes' settings; and what its probes may take by themselves.

    `own_s` is in seconds, for all pairs of members.
    """

    overlay: str
    mode: str
    probes: Mapping[str, Any]
    own_s: float = 0.0

    def likeness(self) -> tuple[tuple[Source, str], ...]:
        """Return by what past trials are found that tell of this one, the likest first."""
        subject = f"{self.overlay} {self.mode}"
        settings = {name: one for name, one in self.probes.items() if one is not None}
        kinds = " ".join(sorted(settings))
        exact = json.dumps(settings, sort_keys=True)
        return (
            ("overlay, mode and probes", f"{subject} {exact}"),
            ("overlay, mode and kinds of probes", f"{subject} {kinds}"),
            ("kinds of probes", kinds),
        )


@dataclass(frozen=True)
class Past:
    """Durations (s) and sizes (bytes) of past trials by what they tell of, and how many ran at once on average."""

    durations: Mapping[tuple[Source, str], Sequence[float]]
    sizes: Mapping[tuple[Source, str], Sequence[float]]
    at_once: float | None
    trials: int

    def duration_s(self, trial: Trial) -> tuple[float, Source]:
        """Return a trial's median duration in the past, or what its probes may take at most, and by what it is told."""
        for key in trial.likeness():
            if key in self.durations:
                return float(np.median(self.durations[key])), key[0]
        return _LAB_S + trial.own_s, "own"

    def size(self, trial: Trial) -> float | None:
        """Return a trial's median size in the past; None where none was like it, or its evidence is not there."""
        return next((float(np.median(self.sizes[key])) for key in trial.likeness() if key in self.sizes), None)


@dataclass(frozen=True)
class Forecast:
    """What a plan comes to: seconds of wall clock, bytes (None: nothing tells), and how many trials are told by what.

    `at_once`: how many trials ran at once on average in past runs; 1 where nothing tells, and it is a bound then.
    """

    trials: int
    wall_s: float
    size: float | None
    told_by: Mapping[Source, int]
    at_once: float
    past_trials: int

    @property
    def text(self) -> str:
        """The forecast in a line, with its source."""
        counts = {source: count for source, count in self.told_by.items() if source != "own"}
        told = ", ".join(f"{count} by past trials of the same {source}" for source, count in counts.items())
        own = self.told_by.get("own", 0)
        bound = f"{own} by what their probes may take at most" if own else ""
        sources = ", ".join(part for part in (told, bound) if part)
        size = "" if self.size is None else f" and {shown_size(self.size)}"
        how = "about" if not own else "up to about" if not counts else "about, partly at most,"
        side = f", {self.at_once:.1f} at once as there" if counts else ", as if one after the other"
        return f"{self.trials} trials: {how} {shown_time(self.wall_s)}{size} ({sources}{side})"


def past_of(runs: Iterable[Results]) -> Past:
    """Return what finished runs took. Trials that did not count tell nothing: they ended early."""
    durations: dict[tuple[Source, str], list[float]] = {}
    sizes: dict[tuple[Source, str], list[float]] = {}
    busy = wall = 0.0
    count = 0
    for run in runs:
        plan = {str(entry["id"]): entry for entry in run.plan}
        records = run.records
        ends = records[(records["probe"] == "trial") & (records["metric"] == "duration_s")]
        for name, outcome, value in zip(ends["trial"], ends["outcome"], ends["value"], strict=True):
            entry = plan.get(str(name))
            if entry is None or str(outcome) not in COUNTED:
                continue
            trial = Trial(str(entry["overlay"]), str(entry["mode"]), entry.get("probes") or {})
            count += 1
            evidence = _bytes_in(run.path / "trials" / str(name))
            for key in trial.likeness():
                durations.setdefault(key, []).append(float(value))
                if evidence:
                    sizes.setdefault(key, []).append(evidence)
        took = _wall_s(run.manifest)
        # A run that was interrupted and resumed was idle in between: its wall clock says nothing.
        if took and float(ends["value"].sum()) >= took / 2:
            busy, wall = busy + float(ends["value"].sum()), wall + took
    return Past(durations, sizes, busy / wall if wall else None, count)


def _wall_s(manifest: Mapping[str, Any]) -> float:
    ends = [manifest.get(name) for name in ("started_at", "ended_at")]
    if not all(ends):
        return 0.0
    began, ended = (datetime.datetime.fromisoformat(str(end)) for end in ends)
    return (ended - began).total_seconds()


def _bytes_in(folder: Path) -> float:
    return float(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))


def forecast(trials: Sequence[Trial], past: Past) -> Forecast:
    """Return what so many trials come to."""
    told = [past.duration_s(trial) for trial in trials]
    sizes = [size for trial in trials if (size := past.size(trial)) is not None]
    # What no past trial was like is taken to be as large as the others.
    size = sum(sizes) * len(trials) / len(sizes) if sizes else None
    total = sum(seconds for seconds, _ in told)
    counts = Counter(source for _, source in told)
    # What is bounded by its probes alone goes one after the other: how many unlike runs had at once says nothing.
    at_once = (past.at_once if counts.keys() - {"own"} else None) or 1.0
    return Forecast(len(trials), total / at_once, size, counts, at_once, past.trials)


def shown_time(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def shown_size(size: float) -> str:
    """Return a number of bytes as people say it."""
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
