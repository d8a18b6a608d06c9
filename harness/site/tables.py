"""Cells as tables: a row per subject, a column per pair of NATs, and text in it that says how sure it is. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.model.words import VERDICTS
from harness.report.order import subject_key
from harness.report.plots.heatmap import FEW, shade
from harness.report.tables import left_out, middle, outcomes, path_cell
from harness.results.declared import Metric
from harness.results.metrics import metric_of
from harness.results.pairs import SEVERAL
from harness.results.statistics import Estimate
from harness.site.figures import Cell, Condition, Nats, Subject, conditions_of, nat_pairs
from harness.site.gather import slug

PUNCHED, CONNECTED = "hole_punch_success", "connect_success"
_TIMES = {PUNCHED: "time_to_direct_s", CONNECTED: "time_to_connect_s"}


@dataclass(frozen=True)
class Shown:
    """What a table shows of one cell; `lines` are further facts, `colour` is empty where nothing is shaded."""

    text: str
    href: str
    lines: tuple[str, ...] = ()
    colour: str = ""
    few: bool = False


@dataclass(frozen=True)
class Row:
    """A row: its subject, what it shows, and a place for each column of its table (None: not tried)."""

    subject: Subject
    what: str
    cells: tuple[Shown | None, ...]


@dataclass(frozen=True)
class Matrix:
    """The rows of one condition."""

    condition: Condition
    columns: tuple[Nats, ...]
    rows: tuple[Row, ...]


def success_tables(cells: Sequence[Cell]) -> list[Matrix]:
    """Return success, time and path of every cell but the underlay's, one table per condition.

    A mode that punches holes shows how often it did and when it was direct; any other whether and when it connected.
    """
    own = [cell for cell in cells if cell.subject.overlay != "underlay" and SEVERAL not in cell.nats]
    rows = [(cell, _of_success(cell)) for cell in own]
    return _tables([(cell, *found) for cell, found in rows if found is not None])


def metric_tables(cells: Sequence[Cell], metric: Metric) -> list[Matrix]:
    """Return a metric's estimate in every cell, one table per condition; a row for each path where paths cost."""
    return _tables(
        [
            (cell, path, _of_estimate(cell, metric, estimate))
            for cell in cells
            for (name, path), estimate in cell.figures.items()
            if name == metric.name
        ]
    )


def _tables(found: Sequence[tuple[Cell, str, Shown]]) -> list[Matrix]:
    tables = []
    for condition in conditions_of([cell for cell, *_ in found]):
        own = [one for one in found if one[0].condition == condition]
        columns = nat_pairs([cell for cell, *_ in own])
        of_row: dict[tuple[Subject, str], dict[Nats, Shown]] = {}
        for cell, what, shown in own:
            of_row.setdefault((cell.subject, what), {})[cell.nats] = shown
        rows = [
            Row(subject, what, tuple(of_row[subject, what].get(nats) for nats in columns))
            for subject, what in sorted(of_row, key=_place)
        ]
        tables.append(Matrix(condition, tuple(columns), tuple(rows)))
    return tables


def _place(row: tuple[Subject, str]) -> tuple[tuple[bool, str, int, str], int]:
    """Return a row's place: by subject, paths from direct to none; the sort is stable, so later runs stay first."""
    subject, what = row
    return subject_key((subject.overlay, subject.mode)), VERDICTS.index(what) if what in VERDICTS else len(VERDICTS)


def _of_success(cell: Cell) -> tuple[str, Shown] | None:
    """Return what a cell's row is about and what it shows; None where neither success was measured."""
    missing = left_out(outcomes(cell.rows))
    for metric, what in ((PUNCHED, "hole punched"), (CONNECTED, "connected")):
        estimate = cell.figures.get((metric, ""))
        if estimate is None:
            continue
        times = _TIMES[metric]
        time = middle(cell.rows[times], cell.rows["deadline_s"]) if times in cell.rows else "-"
        after = f"{time} s" if time not in {"-", ""} else ""
        lines = (interval(estimate, metric_of(metric)), after, path_cell(cell.rows), missing)
        shown = Shown(
            f"{round(estimate.value * estimate.n)}/{estimate.n}",
            link_to(cell),
            tuple(line for line in lines if line),
            shade(estimate.value) if metric == PUNCHED else "",
            estimate.n < FEW,
        )
        return what, shown
    return ("hole punched", Shown("-", link_to(cell), (missing,))) if missing else None


def _of_estimate(cell: Cell, metric: Metric, estimate: Estimate) -> Shown:
    text = f"{round(estimate.value * estimate.n)}/{estimate.n}" if is_share(metric) else number(estimate.value, metric)
    lines = (interval(estimate, metric), "" if is_share(metric) else f"n = {estimate.n}")
    return Shown(text, link_to(cell), tuple(line for line in lines if line), "", estimate.n < FEW)


def link_to(cell: Cell) -> str:
    """Return where a cell's figures and trials are, from the site's front page."""
    return f"runs/{cell.subject.run.key}/{slug(cell.subject.overlay)}.html#{cell.anchor}"


def is_share(metric: Metric) -> bool:
    """Tell whether a metric counts successes."""
    return metric.estimator == "proportion"


def interval(estimate: Estimate, metric: Metric) -> str:
    """Return an estimate's interval, empty where there is none."""
    if math.isnan(estimate.low):
        return ""
    if is_share(metric):
        return f"{100 * estimate.low:.0f} to {100 * estimate.high:.0f} %"
    return f"{number(estimate.low, metric)} to {number(estimate.high, metric)}"


def number(value: float, metric: Metric) -> str:
    """Return a value to three figures; what was censored is `late`, what has no value otherwise is `lost`."""
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "late" if metric.estimator == "censored median" else "lost"
    size = abs(value)
    if metric.unit in {"count", "B"} and value == round(value):
        return f"{value:,.0f}"
    if size >= 1000:
        return f"{value:,.0f}"
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    return f"{value:.{digits}f}" if size >= 1 else "0" if value == 0 else f"{value:.3g}"


def unit_of(metric: Metric) -> str:
    """Return a metric's unit as people read it."""
    if metric.unit != "1":
        return metric.unit
    return "ratio" if metric.multiple else "share of runs" if is_share(metric) else "ratio, 0 to 1"


def choices(tables: Iterable[Matrix]) -> Mapping[str, list[str]]:
    """Return what each filter of a page of tables offers, and none where there is nothing to choose."""
    found: dict[str, list[str]] = {name: [] for name in ("overlay", "mode", "nat", "link", "version", "machine", "run")}
    for table in tables:
        found["link"].append(table.condition.link or "ideal")
        found["nat"] += [nat or "no NAT" for nats in table.columns for nat in nats]
        for row in table.rows:
            subject = row.subject
            found["overlay"].append(subject.overlay)
            found["mode"].append(subject.mode)
            found["version"].append(subject.version or "-")
            found["run"].append(subject.run.name)
            if subject.machine:
                found["machine"].append(subject.machine)
    return {name: values for name, several in found.items() if len(values := sorted(set(several))) > 1}
