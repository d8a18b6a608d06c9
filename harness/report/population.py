"""What a report says of a population: rates, curves and bands, and whether algebra, engine and emulation agree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.report.churn import churn_plots, churn_tables, read_churn
from harness.report.plots.figure import Drawn, Plot, save
from harness.report.plots.style import Style
from harness.report.population_lab import agreement_table, declared_table
from harness.report.population_plots import condition_name, curves, figure_of_band, whole
from harness.report.population_times import direct_by, looks_s, percent, with_interval
from harness.report.tables import TextTable
from harness.results.agreement import CellAgreement, agreement, condition_key, counts_of, of_condition, weighted
from harness.results.loading import Results
from harness.results.parts import record_parts
from harness.results.store import ResultFolderError

FILE = "population.json"


@dataclass(frozen=True)
class PopulationSection:
    """The section of a report."""

    tables: list[TextTable]
    plots: list[Drawn]


def population_section(results: Results, style: Style, folder: Path) -> PopulationSection | None:
    """Return the section of a simulated run; None for an emulated one.

    Raises:
        ResultFolderError: population.json cannot be read.
    """
    found = population_of(results)
    if found is None:
        return None
    tables, plots = found
    return PopulationSection(tables, [save(plot, folder, style) for plot in plots])


def population_of(results: Results) -> tuple[list[TextTable], list[Plot]] | None:
    """Return the section's tables, and its plots as they are to be drawn; None for an emulated run.

    Raises:
        ResultFolderError: population.json cannot be read.
    """
    path = results.path / FILE
    if not path.is_file():
        return None
    try:
        described = json.loads(path.read_bytes())
    except ValueError as error:
        raise ResultFolderError(f"{path}: unreadable: {error}") from None
    counts = counts_of(record_parts(results.path), looks_s(described["deadline_s"]))
    cells = agreement(described, counts, min(counts.overlays, default=""))
    groups = counts.groups
    tables = [
        _rates(described, cells, groups),
        direct_by(described, cells, counts.within),
        agreement_table(cells, described, results.manifest.get("links")),
        declared_table(described),
        _bands(described),
    ]
    plots = [curves(described, cells), whole(described, groups)]
    over_time = read_churn(results.path)
    if over_time is not None:
        churn = described.get("churn")
        tables += churn_tables(over_time, churn)
        plots += churn_plots(over_time, churn)
    return [table for table in tables if table.rows], plots


def reweighed(described: Mapping[str, Any], folder: Path) -> TextTable:
    """Return the rates of a population whose cells another run has: its own shares, the cells of that folder.

    Groups were drawn from that run's shares, so of them the algebra alone is told.

    Args:
        described: of the population, as its own population.json would be.

    Raises:
        ResultFolderError: the folder cannot be read.
    """
    counts = counts_of(record_parts(folder))
    return _rates(described, agreement(described, counts, min(counts.overlays, default="")), {})


_DRAWN = (
    " ~: such groups can be made up in too many ways to sum them all, so that the algebra's figure rests on 20,000 "
    "groups drawn at random (standard error below 0.4 points)."
)


def _rates(described: Mapping[str, Any], cells: Sequence[CellAgreement], groups: Mapping[Any, Any]) -> TextTable:
    rows = []
    for condition in described["conditions"]:
        engine = weighted(of_condition(cells, condition["params"]))
        row = [condition_name(condition["params"]), percent(condition["pairs"])]
        row.append(with_interval(engine))
        for size, expected in condition["groups"].items():
            count = groups.get((condition_key(condition["params"]), int(size)))
            text = ("~" if size in condition.get("groups_drawn", ()) else "") + percent(expected)
            if count is not None:
                low, high = count.interval(0.95)
                text += f"; {percent(count.rate)} [{percent(low)}, {percent(high)}]"
            row.append(text)
        rows.append(tuple(row))
    sizes = list(described["conditions"][0]["groups"]) if described["conditions"] else []
    header = (
        "technique",
        "pairs direct (%), algebra",
        "engine",
        *(f"groups of {size} all direct (%)" for size in sizes),
    )
    note = (
        "Algebra: what the oracle expects, summed over all pairs. Engine: rates of the simulated cells, weighted by "
        "their shares, with the 95 % interval. Groups: the algebra (which takes pairs as independent, given the "
        f"types of access), then simulated groups if there are any. Deadline: {described['deadline_s']:g} s."
        + (_DRAWN if any(condition.get("groups_drawn") for condition in described["conditions"]) else "")
    )
    return TextTable("The population", header, tuple(rows), frozenset(range(1, len(header))), note)


def _bands(described: Mapping[str, Any]) -> TextTable:
    rows = [
        (
            band["name"],
            figure_of_band(band),
            band["conditions"],
            band["source"],
        )
        for band in described["bands"]
    ]
    return TextTable("Published field measurements", ("study", "figure", "conditions", "source"), tuple(rows))
