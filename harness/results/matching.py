"""Which measurements of two runs belong together: those of the same cell, whatever their seeds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from harness.results.cells import cells, counted_values, differ, link_backends
from harness.results.conditions import canonical_value, swept
from harness.results.metrics import TRIAL_SUCCESS, is_of_a_path, metric_of
from harness.results.paths import path_seen
from harness.results.ranks import Cell
from harness.results.record import COUNTED
from harness.results.statistics import as_floats

_SUBJECT = ("overlay", "mode")
_CELL = ("topology", "nat_a", "nat_b", "link", "engine", "link_backend")
_SAMPLE = (*_SUBJECT, "metric", "unit", "phase")


@dataclass(frozen=True)
class Sample:
    """One metric of one subject (overlay and mode) in both runs: its cells that both of them measured.

    `names` are those of the `parts` where they are not their own: those of several subjects say whose they are.
    `phase` is the event of a timeline that the metric is about, empty for what is of a whole trial: what one event did
    is never pooled with what another did.
    """

    subject: str
    metric: str
    unit: str
    cells: tuple[Cell, ...]
    names: tuple[str, ...] = ()
    phase: str = ""

    @cached_property
    def parts(self) -> tuple[Cell, ...]:
        """The cells, and in place of one whose trials have several pairs of members a cell for each pair and path."""
        return tuple(part for cell in self.cells for part in cell.parts)

    @property
    def trials(self) -> tuple[int, int]:
        """How many trials of the base and of the new run are in it."""
        return sum(cell.counts[0] for cell in self.cells), sum(cell.counts[1] for cell in self.cells)


@dataclass(frozen=True)
class Matching:
    """All samples of two runs, and what kept others apart.

    `changed` are conditions that are constant in each run and differ between them (another link, say): they are
    compared all the same, and said. `only_base` and `only_new` name what one side measured alone, with its cells.
    """

    samples: list[Sample]
    changed: dict[str, tuple[str, str]] = field(default_factory=dict)
    only_base: list[str] = field(default_factory=list)
    only_new: list[str] = field(default_factory=list)


def match(base: pd.DataFrame, new: pd.DataFrame, metrics: Iterable[str]) -> Matching:
    """Match the records of two runs, metric by metric and cell by cell. All trials that count are taken."""
    wanted = frozenset(metrics)
    frames = [trial_values(frame, wanted) for frame in (base, new)]
    changed = _changed(frames)
    both = pd.concat([frame.assign(new=bool(side)) for side, frame in enumerate(frames)], ignore_index=True)
    if both.empty:
        return Matching([])
    both["cell"] = cell_names(both, changed)
    both["cell"] = _told_by_path(both)
    both["part"] = _parts(both)
    both["shared"] = both.groupby([*_SAMPLE, "cell", "part"], sort=False)["new"].transform("nunique") == 2
    samples, only = [], {False: _Alone(), True: _Alone()}
    for key, group in both[[*_SAMPLE, "cell", "part", "new", "trial", "value", "shared"]].groupby(
        list(_SAMPLE), sort=False
    ):
        subject = " ".join(dict.fromkeys(map(str, key[:2])))
        found = []
        for name, part in group.groupby("cell", sort=False):
            shared = part["shared"]
            if shared.any():
                found.append(_cell(str(name), part[shared]))
            for side, rest in part[~shared].groupby("new", sort=False):
                where = rest["part"].map(lambda pair, name=name: f"{name}, {pair}" if pair else str(name))
                for one in where.unique() if shared.any() else [str(name)]:
                    only[bool(side)].add(subject, str(key[2]), one)
        if found:
            samples.append(Sample(subject, str(key[2]), str(key[3]), tuple(found), phase=str(key[4])))
    return Matching(samples, changed, only[False].told(both, new=False), only[True].told(both, new=True))


def _cell(name: str, part: pd.DataFrame) -> Cell:
    trials = np.unique(
        [f"{side} {trial}" for side, trial in zip(part["new"], part["trial"], strict=True)], return_inverse=True
    )[1]
    names, pairs = np.unique(part["part"].to_numpy(dtype=str), return_inverse=True)
    named = tuple(map(str, names)) if names[-1] else ()
    return Cell(name, as_floats(part["value"]), trials, pairs, part["new"].to_numpy(dtype=bool), named)


def trial_values(records: pd.DataFrame, metrics: frozenset[str]) -> pd.DataFrame:
    """Return one value per cell, metric, trial and pair of members; the success of whole trials is made here."""
    frame = cells(records.reset_index(drop=True))
    frame["value"] = counted_values(frame)
    ends = frame[(frame["probe"] == "trial") & (frame["metric"] == "duration_s") & frame["outcome"].isin(COUNTED)]
    success = ends.assign(metric=TRIAL_SUCCESS, unit="1", value=(ends["outcome"] == "ok").astype(float))
    frame = pd.concat([success, frame], ignore_index=True)
    frame = frame[frame["metric"].isin(metrics) & frame["value"].notna()]
    frame["pair"] = [" ".join(sorted(ends)) for ends in zip(frame["src"], frame["dst"], strict=True)]
    keys = [*_SAMPLE, *_CELL, "params", "trial", "pair"]
    grouped = frame.groupby(keys, sort=False)["value"]
    values = grouped.mean().reset_index()
    values["path"] = _paths(records, values)
    ways = values["metric"].map(lambda name: metric_of(str(name)).ways)
    for which, worst in (("smaller", grouped.min()), ("larger", grouped.max())):
        chosen = ways == which
        values.loc[chosen, "value"] = worst.to_numpy()[chosen]
    return values


def _paths(records: pd.DataFrame, values: pd.DataFrame) -> list[str]:
    """Return the path of each value's pair, in its phase where it has one (`path_seen`); empty where it has none."""
    rows = records[(records["metric"] == "connect_success") | records["phase"].notna()]
    rows = rows[rows["path"].notna()]
    columns = [rows[name].astype(object).where(rows[name].notna(), "") for name in ("trial", "phase", "src", "dst")]
    known: dict[tuple[str, str, str], str] = {}
    for trial, phase, src, dst, path in zip(*columns, rows["path"], strict=True):
        known[str(trial), str(phase), " ".join(sorted((str(src), str(dst))))] = str(path)
    return [
        path_seen(phase, known.get((trial, phase, pair)), known.get((trial, "", pair), ""))
        for trial, phase, pair in values[["trial", "phase", "pair"]].astype(str).itertuples(index=False, name=None)
    ]


def _told_by_path(both: pd.DataFrame) -> pd.Series:
    """Return the cells, by path where trials took several, and one in both runs: what paths cost is never pooled.

    Where the runs have no path in common, the cell is compared as it is: that paths changed is the change. One whose
    trials have pairs of several paths stays one cell, since two cells of the same trials are not independent; its parts
    are told by path (`_parts`).
    """
    names = both["cell"].copy()
    rows = both[
        both["metric"].map({name: is_of_a_path(name) for name in both["metric"].unique()}) & (both["path"] != "")
    ]
    # Most cells have one path, and a group is dear to look at.
    several = rows.groupby([*_SAMPLE, "cell"], sort=False)["path"].transform("nunique") > 1
    for _, part in rows[several].groupby([*_SAMPLE, "cell"], sort=False):
        base, new = (set(part.loc[part["new"] == side, "path"]) for side in (False, True))
        if len(base | new) > 1 and base & new and part.groupby(["new", "trial"])["path"].nunique().max() == 1:
            names.loc[part.index] = part["cell"] + ", " + part["path"]
    return names


def _parts(both: pd.DataFrame) -> pd.Series:
    """Return the pair of members of each value whose trials have several, with its path where it took several.

    Where the runs have no path of a pair in common, the pair is compared as it is.
    """
    parts = pd.Series("", index=both.index, dtype=object)
    again = both.assign(again=both.duplicated([*_SAMPLE, "cell", "new", "trial"]))
    several_pairs = again.groupby([*_SAMPLE, "cell"], sort=False)["again"].transform("any")
    for key, cell in both[several_pairs].groupby([*_SAMPLE, "cell"], sort=False):
        parts.loc[cell.index] = cell["pair"].str.replace(" ", " - ")
        several = cell.groupby("pair", sort=False)["path"].nunique() > 1
        for pair in several.index[several] if is_of_a_path(str(key[2])) else ():
            rows = cell[cell["pair"] == pair]
            base, new = (set(rows.loc[rows["new"] == side, "path"]) for side in (False, True))
            if base & new:
                parts.loc[rows.index] += ", " + rows["path"].replace("", "no path")
    return parts


def _changed(frames: Sequence[pd.DataFrame]) -> dict[str, tuple[str, str]]:
    """Return topology, links and parameters that are constant in each run and differ between the two."""
    changed = {}
    for name in ("topology", "link"):
        values = [frame[name].unique() for frame in frames]
        if len(values[0]) == len(values[1]) == 1 and values[0][0] != values[1][0]:
            changed[name] = (str(values[0][0]), str(values[1][0]))
    sides = [[json.loads(text) for text in frame["params"].unique()] for frame in frames]
    for name in sorted({name for side in sides for params in side for name in params}):
        found = [{canonical_value(params.get(name)) for params in side} for side in sides]
        if len(found[0]) == len(found[1]) == 1 and found[0] != found[1]:
            changed[name] = (found[0].pop(), found[1].pop())
    return changed


def cell_names(both: pd.DataFrame, changed: Mapping[str, tuple[str, str]]) -> pd.Series:
    """Return what tells cells apart: NATs always, and what else differs; text that is equal when they are.

    What emulated the links always does where it differs, also where each run had but one: that is never compared.
    """
    backends = link_backends(both)
    both = both.assign(link_backend=backends if differ(backends) else "")
    nats = [both[name].where(both[name] != "", "no NAT") for name in ("nat_a", "nat_b")]
    parts = [nats[0] + " x " + nats[1]]
    parts += [both[name] for name in _CELL if name not in {"nat_a", "nat_b", *changed} and both[name].nunique() > 1]
    varied = [name for name in swept(both) if name not in changed]
    distinct = {text: json.loads(text) for text in both["params"].unique()}
    words = {
        text: ", ".join(f"{name}={canonical_value(params.get(name))}" for name in varied)
        for text, params in distinct.items()
    }
    names = parts[0]
    for part in [*parts[1:], both["params"].map(words)]:
        names = names.where(part == "", names + ", " + part)
    return names


class _Alone:
    """What one run measured alone."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str], set[str]] = {}

    def add(self, subject: str, metric: str, cell: str) -> None:
        self._cells.setdefault((subject, metric), set()).add(cell)

    def told(self, both: pd.DataFrame, *, new: bool) -> list[str]:
        """Return one line for each subject and set of cells: its metrics, or that there is nothing of it at all."""
        other = both[both["new"] != new]
        present = {" ".join(dict.fromkeys(map(str, key))) for key in zip(other["overlay"], other["mode"], strict=True)}
        by_cells: dict[tuple[str, frozenset[str]], list[str]] = {}
        for (subject, metric), names in self._cells.items():
            by_cells.setdefault((subject, frozenset(names)), []).append(metric)
        lines = []
        for (subject, where_all), metrics in by_cells.items():
            where = next(iter(where_all)) if len(where_all) == 1 else f"{len(where_all)} cells"
            lines.append(f"{subject} ({where})" + (f": {', '.join(sorted(metrics))}" if subject in present else ""))
        return sorted(lines)
