"""What a report says of a population: rates, curves and bands, and whether algebra, engine and emulation agree."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.report.churn import churn_plots, churn_tables, read_churn
from harness.report.plots.figure import Drawn, Plot, save
from harness.report.plots.style import Style
from harness.report.population_plots import condition_name, curves, figure_of_band, whole
from harness.report.population_times import direct_by, looks_s, with_interval
from harness.report.tables import NOTHING, TextTable
from harness.results.agreement import CellAgreement, agreement, condition_key, counts_of, of_condition, weighted
from harness.results.counts import DIFFERENCE, FEWEST_RUNS, POWER
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
        _agreement_table(cells, _lab_said(described)),
        _declared(described),
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


def _percent(value: float | None, digits: int = 1) -> str:
    return NOTHING if value is None else f"{100 * value:.{digits}f}"


_DRAWN = (
    " ~: there are too many ways to make up such a group to sum them all, so the algebra's figure is of 20,000 groups "
    "that were drawn, with a standard error below 0.4 points."
)


def _rates(described: Mapping[str, Any], cells: Sequence[CellAgreement], groups: Mapping[Any, Any]) -> TextTable:
    rows = []
    for condition in described["conditions"]:
        engine = weighted(of_condition(cells, condition["params"]))
        row = [condition_name(condition["params"]), _percent(condition["pairs"])]
        row.append(with_interval(engine))
        for size, expected in condition["groups"].items():
            count = groups.get((condition_key(condition["params"]), int(size)))
            text = ("~" if size in condition.get("groups_drawn", ()) else "") + _percent(expected)
            if count is not None:
                low, high = count.interval(0.95)
                text += f"; {_percent(count.rate)} [{_percent(low)}, {_percent(high)}]"
            row.append(text)
        rows.append(tuple(row))
    sizes = list(described["conditions"][0]["groups"]) if described["conditions"] else []
    header = ("technique", "pairs direct %, algebra", "engine", *(f"groups of {size} all direct %" for size in sizes))
    note = (
        "Algebra: what the oracle expects, summed over all pairs. Engine: rates of simulated cells weighted by their "
        "shares, 95 % interval. Groups: algebra (pairs independent, given the types), then simulated groups where "
        f"there are any. Deadline {described['deadline_s']:g} s."
        + (_DRAWN if any(condition.get("groups_drawn") for condition in described["conditions"]) else "")
    )
    return TextTable("The population", header, tuple(rows), frozenset(range(1, len(header))), note)


def _lab_said(described: Mapping[str, Any]) -> str:
    """Return a sentence on what of the lab counts as direct; empty where there is none."""
    lab = described.get("emulated", ())
    if not lab:
        return ""
    if any("waited_s" not in cell for cell in lab):
        return " Of the lab all counts that was direct by its own deadline, which is not recorded here."
    deadline_s = described["deadline_s"]
    made = sorted(
        {f"run {cell['run']} at commit {cell['commit']}, link {cell['link']}" for cell in lab if "run" in cell}
    )
    longer = sorted({each for cell in lab for each in cell["waited_s"] if each != deadline_s})
    text = f" Of the lab counts what was direct within {deadline_s:g} s"
    of_lab = f" The lab's cells are those of {' and '.join(made)}." if made else ""
    if not longer:
        return f"{text}, for which it waited.{of_lab}"
    waited = " and ".join(f"{each:g}" for each in longer)
    text += f", though it waited {waited} s: direct at its end, and since no later than that."
    if untold := sum(cell["untold"] for cell in lab):
        text += f" Left out: {untold} of its pairs that were direct at the end, since when is not known."
    return text + of_lab


def _agreement_table(cells: Sequence[CellAgreement], lab_said: str) -> TextTable:
    judged = [cell for cell in cells if cell.simulated is not None]
    agreed = [cell for cell in judged if _verdict(cell) == "agree"]
    troubled = [cell for cell in judged if cell.complaints]
    with_lab = [cell for cell in judged if cell.emulated is not None]
    shown = sorted({id(cell): cell for cell in (*troubled, *with_lab)}.values(), key=lambda cell: not cell.complaints)
    rows = [
        (
            f"{cell.first} x {cell.second}" + (f" ({cell.shared_layers} shared)" if cell.shared_layers else ""),
            condition_name(cell.params),
            f"{cell.expected:.3f}",
            _count(cell.simulated),
            _count(cell.emulated),
            _verdict(cell),
            cell.reason if cell.complaints else "",
        )
        for cell in shown
    ]
    rest = [_verdict(cell) for cell in judged if not any(cell is one for one in shown)]
    for word, others in Counter(rest).items():
        rows.append((f"{others} others, each", "", "", "", "", word, ""))
    header = ("cell", "technique", "algebra", "engine", "emulation", "verdict", "what the oracle says")
    note = (
        f"{len(agreed)} of {len(judged)} simulated cells agree, {len(troubled)} differ, and of "
        f"{len(judged) - len(agreed) - len(troubled)} too few runs tell. They differ by exact tests (binomial, "
        "Barnard) at 1 %, so that one in a hundred may seem to; they agree where so many runs would have shown "
        f"{100 * DIFFERENCE:.0f} points with a power of {100 * POWER:.0f} %. Shown are those that differ, and those "
        f"that were emulated too.{lab_said}"
    )
    return TextTable("Algebra, engine, emulation", header, tuple(rows), frozenset({2}), note)


def _verdict(cell: CellAgreement) -> str:
    if cell.complaints:
        return " · ".join(f"{name} differ" for name in cell.complaints)
    return f"cannot tell: too few runs ({' · '.join(cell.open)})" if cell.open else "agree"


def _count(count: Any) -> str:
    if count is None:
        return NOTHING
    low, high = count.interval()
    return f"{count.successes}/{count.runs} [{low:.3f}, {high:.3f}]"


def _runs(count: int | None) -> str:
    return NOTHING if count is None else str(count)


def _declared(described: Mapping[str, Any]) -> TextTable:
    rows = []
    for level in described["declared"]:
        expected = level.get("emulated_expected")
        measured = level.get("emulated")
        rows.append(
            (
                level["overlay"],
                condition_name(level),
                "no" if level["ipv6"] else "yes",
                _percent(level["pairs"]),
                _percent(level.get("pairs_with_lab")),
                _runs(level.get("lab_runs")),
                _percent(level.get("lab_covers"), 0),
                _percent(expected),
                _percent(measured),
                _runs(level.get("emulated_runs")),
                ", ".join(level.get("differs", ())),
            )
        )
    header = (
        "overlay",
        "declares",
        "IPv4 only here",
        "pairs direct %, as declared",
        "with the lab's cells %",
        "lab runs behind that",
        "lab has % of pairs",
        "lab's cells: expected %",
        "seen %",
        "lab runs",
        "differ",
    )
    dual = math.fsum(each["share"] for each in described["access"].values() if each.get("ipv6"))
    note = (
        "What each adapter declares of its product, put into the algebra: the most that the technique can do. Port "
        "mapping and IPv6 are in where the row names them: where the adapter says that the product, as it is deployed "
        "here, asks routers for ports or runs over IPv6, and counts where an access has them. IPv4 only here: so "
        f"the adapter deploys it, whatever the product can do, and that {_percent(dual, 0)} % of peers have IPv6 "
        "brings it nothing: such rows compare with each other alone. With the lab's cells: where a lab has run the "
        "product, its own rate stands for what is declared of a cell, but only if the two differ (exact test at 1 %) "
        f"and the cell has {FEWEST_RUNS} runs or more; fewer know less than what is declared. How many lab runs stand "
        "behind such rates is said beside them: 0 where none was taken. Lab has: the share of pairs in cells that the "
        "lab has at all. Of those cells: the mean of what is declared and of what was seen, whatever their shares, "
        "in how many runs, and which of them differ, however few their runs."
        f"{_lab_said(described)} What is declared knows no time: who needs longer differs from it."
    )
    return TextTable("What products would reach", header, tuple(rows), frozenset(range(3, 10)), note)


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
    return TextTable("Field figures", ("study", "figure", "conditions", "source"), tuple(rows))
