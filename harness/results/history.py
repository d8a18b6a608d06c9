"""Many runs as one history: which points (versions or commits) they have, and each metric's values at them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.errors import Problem, ScenarioError
from harness.results.compare import COMPARED, MACHINE_BOUND, empty_for_underlay
from harness.results.differences import differences, kind_of, kinds_of_hosts
from harness.results.loading import Results
from harness.results.matching import cell_names, trial_values
from harness.results.metrics import is_of_a_path, metric_of
from harness.results.series import Axis, HistoryCell, Series
from harness.results.statistics import as_floats

# How points are told apart; any other word is a label that `run --label` gave.
VERSION, RUN, COMMIT = "version", "run", "commit"
_SERIES = ("overlay", "mode", "metric", "unit", "phase")
_HASH_SHOWN = 12


@dataclass(frozen=True)
class History:
    """Result folders in their order, the axes of their points, and what a reader must know of them."""

    runs: tuple[Results, ...]
    by: str
    axes: tuple[Axis, ...]
    points: tuple[pd.Series, ...]
    remarks: tuple[str, ...]


def history_of(runs: Sequence[Results], by: str | None = None, *, as_given: bool = False) -> History:
    """Put result folders in the order in which they were made (or given), and tell their points.

    `by` is `version`, `run` or a label; None: the label `commit` where all have it, else the version where an overlay
    has several, else the run.

    Raises:
        ScenarioError: a folder lacks the label.
    """
    ordered = tuple(runs if as_given else sorted(runs, key=lambda run: str(run.manifest.get("started_at") or "")))
    chosen = by or _told_by(ordered)
    points = tuple(_points(run, number, chosen) for number, run in enumerate(ordered))
    return History(ordered, chosen, tuple(_axes(ordered, points)), points, tuple(_remarks(ordered)))


def _told_by(runs: Sequence[Results]) -> str:
    if all(COMMIT in (run.manifest.get("labels") or {}) for run in runs):
        return COMMIT
    pairs = pd.concat([run.records[["overlay", "overlay_version"]].astype(str).drop_duplicates() for run in runs])
    return VERSION if (pairs.drop_duplicates().groupby("overlay").size() > 1).any() else RUN


def _points(run: Results, number: int, by: str) -> pd.Series:
    """Return the point of each of a folder's records."""
    records = run.records
    if by == VERSION:
        versions = records["overlay_version"].astype(object)
        return versions.where(versions.notna(), "no version").astype(str)
    if by == RUN:
        return pd.Series(f"{number + 1}: {run.path.name or run.path}", index=records.index)
    labels = run.manifest.get("labels") or {}
    if by not in labels:
        known = f"it has {', '.join(sorted(labels))}" if labels else "it has none"
        text = f"its manifest lacks this label ({known}); set it with `run --label {by}=...`, or choose another --by"
        raise ScenarioError([Problem(str(run.path / "manifest.json"), 0, f"labels.{by}", text)])
    return pd.Series(shown_point(str(labels[by])), index=records.index)


def shown_point(label: str) -> str:
    """Return a label as people read it: hashes of commits are cut."""
    is_hash = len(label) == 40 and all(char in "0123456789abcdef" for char in label)
    return label[:_HASH_SHOWN] if is_hash else label


def _axes(runs: Sequence[Results], points: Sequence[pd.Series]) -> Iterator[Axis]:
    """Group the overlays whose points stand in the same folders."""
    seen: dict[str, list[tuple[int, str]]] = {}
    for folder, (run, point) in enumerate(zip(runs, points, strict=True)):
        frame = pd.DataFrame({"overlay": run.records["overlay"].astype(str), "point": point}).drop_duplicates()
        for overlay, name in frame.itertuples(index=False, name=None):
            seen.setdefault(overlay, []).append((folder, name))
    alike: dict[tuple[tuple[int, str], ...], list[str]] = {}
    for overlay, sessions in seen.items():
        alike.setdefault(tuple(sessions), []).append(overlay)
    for sessions_of, overlays in alike.items():
        names = tuple(dict.fromkeys(name for _, name in sessions_of))
        placed = sorted((names.index(name), folder) for folder, name in sessions_of)
        yield Axis(tuple(overlays), names, tuple(point for point, _ in placed), tuple(folder for _, folder in placed))


def _remarks(runs: Sequence[Results]) -> Iterator[str]:
    newest = runs[-1]
    for run in runs[:-1]:
        if left := differences(run, newest).left_out:
            shown = ", ".join(name for name in COMPARED if name in left)
            yield f"{run.path}: its probes had other settings than in the newest run; not used from it: {shown}"


def series_of(history: History, axis: Axis) -> list[Series]:
    """Return all series of an axis: of metrics that have a better and a worse, and are not empty for the underlay."""
    frame = _frame(history, axis)
    if frame.empty:
        return []
    machines = frame["machine"].nunique() > 1
    bound = frame["metric"].isin(MACHINE_BOUND) & machines
    frame["block"] = frame["machine"].where(bound, "")
    frame["cell"] = cell_names(frame, {})
    found = []
    for key, group in frame.groupby([*_SERIES, "block"], sort=False):
        overlay, mode, metric, unit, phase, block = key
        cells = tuple(_cell(str(name), part) for name, part in _by_path(group).groupby("cell", sort=False))
        subject = " ".join(dict.fromkeys((str(overlay), str(mode))))
        found.append(Series(axis, subject, str(metric), str(unit), str(phase), str(block), cells))
    return found


def _machines(run: Results) -> Mapping[str, str]:
    """Return the kind of the machine that made each of a run's trials: its host's, or what the manifest has alone."""
    kinds = kinds_of_hosts(run.manifest)
    alone = kind_of(run.manifest.get("machine") or {})
    hosts = run.records.drop_duplicates("trial")[["trial", "host"]].astype(str)
    return {trial: _kind_name(kinds.get(host, alone)) for trial, host in hosts.itertuples(index=False, name=None)}


def _kind_name(kind: tuple[Any, ...]) -> str:
    model, cpus, architecture = kind
    return f"{model or 'unknown processor'} x {cpus or '?'}{f', {architecture}' if architecture else ''}"


def _frame(history: History, axis: Axis) -> pd.DataFrame:
    """Return one value per session, cell, metric, trial and pair of members of the axis' overlays."""
    metrics = frozenset(name for name in COMPARED if metric_of(name).better != "neither")
    parts = []
    for session, (point, folder) in enumerate(zip(axis.sessions, axis.folders, strict=True)):
        run = history.runs[folder]
        mine = run.records["overlay"].isin(axis.overlays) & (history.points[folder] == axis.points[point])
        left_out = differences(run, history.runs[-1]).left_out
        values = trial_values(run.records[mine], metrics - frozenset(left_out))
        told = zip(values["overlay"].astype(str), values["metric"].astype(str), strict=True)
        values = values[[not empty_for_underlay(overlay, metric) for overlay, metric in told]]
        parts.append(values.assign(session=session, machine=values["trial"].astype(str).map(_machines(run))))
    return pd.concat(parts, ignore_index=True)


def _by_path(group: pd.DataFrame) -> pd.DataFrame:
    """Return a series' rows, their cells told apart by path where figures of a path were taken on several.

    A cell whose trials have pairs of several paths stays one, since two cells of the same trials are not independent;
    its `part` tells the pair of members, where trials have several, and the path where that pair took several.
    """
    of_a_path = is_of_a_path(str(group["metric"].iloc[0]))
    named = group.assign(part="")
    for name, part in group.groupby("cell", sort=False) if of_a_path else ():
        paths = part[part["path"] != ""]
        several = paths["path"].nunique() > 1
        if several and paths.groupby(["session", "trial"])["path"].nunique().max() == 1:
            named.loc[part.index, "cell"] = str(name) + ", " + part["path"].replace("", "no path")
    for _, cell in named.groupby("cell", sort=False):
        if cell.duplicated(["session", "trial"]).any():
            took_several = of_a_path & (cell.groupby("pair", sort=False)["path"].transform("nunique") > 1)
            by_path = ", " + cell["path"].replace("", "no path")
            named.loc[cell.index, "part"] = cell["pair"].str.replace(" ", " - ") + by_path.where(took_several, "")
    return named


def _cell(name: str, part: pd.DataFrame) -> HistoryCell:
    trials = [f"{session} {trial}" for session, trial in zip(part["session"], part["trial"], strict=True)]
    names, pairs = np.unique(part["part"].to_numpy(dtype=str), return_inverse=True)
    return HistoryCell(
        name,
        as_floats(part["value"]),
        np.unique(trials, return_inverse=True)[1],
        pairs,
        part["session"].to_numpy(dtype=int),
        tuple(map(str, names)) if names[-1] else (),
    )
