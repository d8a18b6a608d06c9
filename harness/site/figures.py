"""What a site shows: subjects, conditions, cells and the estimates of each, all of them the library's. Pure.

A cell is a subject (overlay, mode, version, run, machine) in a condition behind a pair of NATs. Nothing is pooled over
NAT pairs, over paths, over runs or over versions. Machines are blocks of one run: a run on several has a row over all
of them, as its report has, and one for each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pandas as pd

from harness.model.nat_order import nat_rank
from harness.report.order import subject_name
from harness.report.tables import groups, path_groups
from harness.results.clusters import estimates
from harness.results.conditions import canonical_value, swept
from harness.results.metrics import is_of_a_path
from harness.results.pairs import SEVERAL, counted
from harness.results.statistics import Estimate, as_floats
from harness.site.gather import Run, slug

Nats = tuple[str, str]


@dataclass(frozen=True)
class Condition:
    """What rows of one matrix share."""

    topology: str
    link: str
    engine: str
    phase: str
    varied: tuple[tuple[str, str], ...]

    @property
    def title(self) -> str:
        """The condition as a heading."""
        links = self.link if self.link not in {"", "ideal"} else "ideal links"
        parts = [self.topology, links, *(f"{name}={value}" for name, value in self.varied)]
        parts += ["simulated"] * (self.engine == "simulated")
        return ", ".join(parts) + (f"; {self.phase}" if self.phase else "")

    @property
    def key(self) -> str:
        """The condition as part of a link."""
        values = [value for _, value in self.varied]
        return slug("-".join([self.topology, self.link, *values, self.phase, self.engine]))[:80]


@dataclass(frozen=True)
class Subject:
    """Whose figures a row has; `machine` is empty where it is over all machines of a run on several."""

    run: Run
    overlay: str
    mode: str
    version: str
    machine: str
    part: bool = False

    @property
    def name(self) -> str:
        """Overlay and mode, as everywhere."""
        return subject_name(self.overlay, self.mode)


@dataclass
class Cell:
    """One cell: its rows of `pairs_frame`, and an estimate per metric and path (empty: of all paths)."""

    subject: Subject
    condition: Condition
    nats: Nats
    rows: pd.DataFrame
    anchor: str = ""
    figures: dict[tuple[str, str], Estimate] = field(default_factory=dict)


def cells_of(runs: Sequence[Run]) -> list[Cell]:
    """Return all cells of all runs with their estimates, in the order of display."""
    found = [cell for run in runs for cell in _of_run(run, _swept(runs))]
    asked: list[tuple[str, list[float], list[str]]] = []
    places: list[tuple[Cell, tuple[str, str]]] = []
    for cell in found:
        for key, values, trials in _measured(cell):
            asked.append((key[0], values, trials))
            places.append((cell, key))
    for (cell, key), estimate in zip(places, estimates(asked), strict=True):
        cell.figures[key] = estimate
    _anchor(found)
    return found


def _swept(runs: Sequence[Run]) -> dict[str, set[str]]:
    """Return the parameters that tell conditions apart, by topology.

    They are those that a run varied, and those to which runs gave different values; one that other runs have not at all
    (a setting of a probe, say) tells nothing.
    """
    names = ["topology", "nat_a", "nat_b", "link", "params"]
    rows = pd.concat([run.pairs[names].assign(run=run.key) for run in runs], ignore_index=True)
    found: dict[str, set[str]] = {}
    for topology, group in rows.groupby("topology", sort=False):
        varied = {name for _, own in group.groupby("run", sort=False) for name in swept(own)}
        given = [json.loads(text) for text in group["params"].unique()]
        for name in set(swept(group)) - varied:
            if len({canonical_value(one[name]) for one in given if name in one}) > 1:
                varied.add(name)
        found[str(topology)] = varied
    return found


def _of_run(run: Run, varied: dict[str, set[str]]) -> Iterator[Cell]:
    conditions = _conditions(run.pairs, varied)
    several = run.pairs["machine"].nunique() > 1
    for (overlay, mode), group in groups(run.pairs):
        for version, rows in group.groupby("version", sort=True):
            machines = sorted(set(rows["machine"]))
            every = Subject(run, overlay, mode, str(version), "" if several else machines[0])
            parts = [(every, rows)]
            if several:
                parts += [
                    (Subject(run, overlay, mode, str(version), machine, part=True), rows[rows["machine"] == machine])
                    for machine in machines
                ]
            for subject, part in parts:
                of_condition = conditions.loc[part.index]
                for (_, nat_a, nat_b), cell in part.groupby([of_condition, part["nat_a"], part["nat_b"]], sort=False):
                    condition: Condition = conditions[cell.index[0]]
                    yield Cell(subject, condition, (str(nat_a), str(nat_b)), cell)


def _conditions(rows: pd.DataFrame, varied: dict[str, set[str]]) -> pd.Series:
    """Return each row's condition."""
    values = {text: json.loads(text) for text in rows["params"].unique()}
    names = ["topology", "link", "engine", "phase", "params"]
    made: dict[tuple[str, ...], Condition] = {}
    found = []
    for key in rows[names].itertuples(index=False, name=None):
        if key not in made:
            topology, link, engine, phase, params = key
            own = values[params]
            told = tuple((name, canonical_value(own[name])) for name in sorted(varied[topology]) if name in own)
            made[key] = Condition(topology, link, engine, phase, told)
        found.append(made[key])
    return pd.Series(found, index=rows.index, dtype=object)


def _measured(cell: Cell) -> Iterator[tuple[tuple[str, str], list[float], list[str]]]:
    """Yield each metric, path by path where it is what a path costs, with one value a pair and its trial."""
    names = [metric.name for metric in cell.subject.run.metrics]
    paths = [*path_groups(cell.rows)]
    for of_path in (False, True):
        own = [name for name in names if is_of_a_path(name) == of_path]
        for path, part in paths if of_path else [("", cell.rows)]:
            trials = part["trial"].to_numpy()
            matrix = as_floats(part[own].to_numpy())
            there = ~pd.isna(matrix)
            for place, name in enumerate(own):
                if there[:, place].any():
                    kept = there[:, place]
                    yield (name, path), list(matrix[kept, place]), list(trials[kept])


def _anchor(cells: Sequence[Cell]) -> None:
    """Give each cell a name that is its own on its overlay's page of the run, and the same whenever it is made."""
    taken: set[tuple[str, str, str]] = set()
    for cell in cells:
        name = "-".join([cell.subject.mode, *(slug(nat) if nat else "no-nat" for nat in cell.nats)])
        condition = cell.condition
        told = slug("-".join([*(value for _, value in condition.varied), condition.phase]))[:60]
        longest = f"{name}-{condition.key}"
        tries = [name, f"{name}-{told}", longest, *(f"{longest}-{number}" for number in range(2, len(cells) + 2))]
        page = (cell.subject.run.key, cell.subject.overlay)
        cell.anchor = next(one for one in tries if (*page, one) not in taken)
        taken.add((*page, cell.anchor))


def nat_pairs(cells: Sequence[Cell]) -> list[Nats]:
    """Return the pairs of NATs of some cells, the most permissive first, what is of several last."""
    found = {cell.nats for cell in cells}
    return sorted(found, key=lambda nats: (SEVERAL in nats, nat_rank(nats[0]), nat_rank(nats[1])))


def conditions_of(cells: Sequence[Cell]) -> list[Condition]:
    """Return the conditions in which cells were measured, those with the most pairs of NATs first."""
    pairs: dict[Condition, set[Nats]] = {}
    for cell in cells:
        pairs.setdefault(cell.condition, set()).add(cell.nats)
    return sorted(pairs, key=lambda one: (one.engine, -len(pairs[one]), one.topology, one.link, one.varied))


def trials_that_count(cell: Cell) -> int:
    """Return how many trials of the cell count."""
    return int(counted(cell.rows)["trial"].nunique())
