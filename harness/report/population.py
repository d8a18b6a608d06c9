"""What a report says of a population: rates, curves and bands, and whether algebra, engine and emulation agree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from harness.report.churn import churn_plot, churn_table, read_churn
from harness.report.plots.figure import Drawn, Plot, save
from harness.report.plots.style import COLOURS, Style
from harness.report.tables import NOTHING, TextTable
from harness.results.agreement import CellAgreement, agreement, condition_key, of_condition, weighted, whole_groups
from harness.results.loading import Results
from harness.results.store import ResultFolderError

FILE = "population.json"


@dataclass(frozen=True)
class PopulationSection:
    """The section of a report."""

    tables: list[TextTable]
    plots: list[Drawn]


def population_section(results: Results, style: Style) -> PopulationSection | None:
    """Return the section of a simulated run; None for an emulated one.

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
    overlays = sorted(set(results.records["overlay"].astype(str)))
    cells = agreement(described, results.records, overlays[0] if overlays else "")
    tables = [
        _rates(described, cells, results.records),
        _agreement_table(cells),
        _declared(described),
        _bands(described),
    ]
    plots = [_curves(described, cells)]
    over_time = read_churn(results.path)
    if over_time is not None:
        tables.append(churn_table(over_time))
        plots.append(churn_plot(over_time))
    folder: Path = results.path / "plots"
    return PopulationSection([table for table in tables if table.rows], [save(plot, folder, style) for plot in plots])


def condition_name(params: Mapping[str, Any]) -> str:
    """Return a condition as people read it."""
    words = [str(params["technique"])]
    words += [word for word, on in (("port mapping", params["port_mapping"]), ("IPv6", params["ipv6"])) if on]
    return ", ".join(words)


def _percent(value: float | None, digits: int = 1) -> str:
    return NOTHING if value is None else f"{100 * value:.{digits}f}"


def _rates(described: Mapping[str, Any], cells: Sequence[CellAgreement], records: pd.DataFrame) -> TextTable:
    groups = whole_groups(records)
    rows = []
    for condition in described["conditions"]:
        engine = weighted(of_condition(cells, condition["params"]))
        row = [condition_name(condition["params"]), _percent(condition["pairs"])]
        row.append(
            f"{_percent(engine.rate)} [{_percent(engine.low)}, {_percent(engine.high)}]"
            if engine is not None
            else NOTHING
        )
        for size, expected in condition["groups"].items():
            count = groups.get((condition_key(condition["params"]), int(size)))
            text = _percent(expected)
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
    )
    return TextTable("The population", header, tuple(rows), frozenset(range(1, len(header))), note)


def _agreement_table(cells: Sequence[CellAgreement]) -> TextTable:
    judged = [cell for cell in cells if cell.simulated is not None]
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
            " · ".join(cell.complaints) or "agree",
            cell.reason if cell.complaints else "",
        )
        for cell in shown
    ]
    if others := len(judged) - len(shown):
        rows.append((f"{others} others, each", "", "", "", "", "agree", ""))
    header = ("cell", "technique", "algebra", "engine", "emulation", "verdict", "what the oracle says")
    note = (
        f"{len(judged) - len(troubled)} of {len(judged)} simulated cells agree, within 99 % intervals: nothing tells "
        "them apart, which few runs could not, and one in a hundred may seem apart by chance. Shown are those that do "
        "not agree, and those that were emulated too."
    )
    return TextTable("Algebra, engine, emulation", header, tuple(rows), frozenset({2}), note)


def _count(count: Any) -> str:
    if count is None:
        return NOTHING
    low, high = count.interval()
    return f"{count.successes}/{count.runs} [{low:.3f}, {high:.3f}]"


def _declared(described: Mapping[str, Any]) -> TextTable:
    rows = []
    for level in described["declared"]:
        expected = level.get("emulated_expected")
        measured = level.get("emulated")
        rows.append(
            (
                level["overlay"],
                condition_name(level),
                _percent(level["pairs"]),
                _percent(level.get("pairs_with_lab")),
                _percent(level.get("lab_covers"), 0),
                _percent(expected),
                _percent(measured),
                ", ".join(level.get("differs", ())),
            )
        )
    header = (
        "overlay",
        "declares",
        "pairs direct %, as declared",
        "with the lab's cells %",
        "which cover %",
        "lab's cells: expected %",
        "seen %",
        "differ",
    )
    note = (
        "What each adapter declares of its product, put into the algebra: the most that the technique can do. Where a "
        "lab has run the product, its own rates stand for the cells that it has, which cover so many of all pairs. Of "
        "those cells: the mean of what is declared and of what was seen, whatever their shares, and which of them "
        "differ (99 %)."
    )
    return TextTable("What products would reach", header, tuple(rows), frozenset(range(2, 7)), note)


def _bands(described: Mapping[str, Any]) -> TextTable:
    rows = [
        (
            band["name"],
            f"{band['low_percent']:g} to {band['high_percent']:g} % of {band['of']}",
            band["conditions"],
            band["source"],
        )
        for band in described["bands"]
    ]
    return TextTable("Field figures", ("study", "figure", "conditions", "source"), tuple(rows))


def _curves(described: Mapping[str, Any], cells: Sequence[CellAgreement]) -> Plot:
    rows = []
    for condition in described["conditions"]:
        name = condition_name(condition["params"])
        own = of_condition(cells, condition["params"])
        for point in condition["curve"]:
            engine = weighted(own, {tuple(each[:3]): each[3] for each in point["cells"]})
            rows.append((name, point["eim"], point["pairs"], engine.rate if engine is not None else None))
    data = pd.DataFrame(rows, columns=["technique", "eim_share", "algebra", "engine"])
    bands = [band for band in described["bands"] if band["of"] in ("pairs", "attempts", "traffic")]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for number, band in enumerate(bands):
            low, high = band["low_percent"], band["high_percent"]
            if high - low < 0.5:
                axes.axhline(low, color="#808080", linestyle=":", linewidth=1)
            else:
                axes.axhspan(low, high, color="#808080", alpha=0.18, linewidth=0)
            axes.annotate(band["name"], (0.01 + 0.5 * (number % 2), (low + high) / 2), fontsize=7, va="center")
        for number, (name, part) in enumerate(data.groupby("technique", sort=False)):
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(part["eim_share"], 100 * part["algebra"], color=colour, label=str(name))
            axes.plot(
                part["eim_share"],
                100 * part["engine"].astype(float),
                color=colour,
                linestyle="",
                marker="o",
                markersize=3,
            )
        axes.set(xlabel="share of peers with endpoint-independent mapping", ylabel="pairs direct (%)", ylim=(0, 102))
        axes.legend()

    caption = (
        "Lines: algebra. Dots: the engine's cells, reweighted for each share. Grey: field figures, each under "
        "its own conditions (see the table); where a curve crosses one is no estimate: many mixes give one rate."
    )
    return Plot(
        "population-curves", "Success against the share of endpoint-independent mapping", caption, data, 3.4, draw
    )
