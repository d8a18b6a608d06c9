"""The tables that a run ends with, as text cells: rendered alike for terminal, Markdown, LaTeX and HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.model.nat_order import nat_rank
from harness.model.words import VERDICTS
from harness.report.intervals import beside, cells_of, is_one_cell, note_on
from harness.report.order import subject_key, subject_name
from harness.report.seen import verdict_of
from harness.results import statistics
from harness.results.declared import OVERVIEW, Column
from harness.results.metrics import shown
from harness.results.pairs import SEVERAL, counted
from harness.results.record import INSTEAD
from harness.results.statistics import as_floats

NOTHING = "-"
_MOST_ACROSS = 6


@dataclass(frozen=True)
class TextTable:
    """A table of text; `numeric` are the columns that are set flush right."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    note: str = ""


def groups(rows: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """Yield the rows of each (overlay, mode), in the order of display."""
    found = {(str(key[0]), str(key[1])): group for key, group in rows.groupby(["overlay", "mode"], sort=False)}
    for subject in sorted(found, key=subject_key):
        yield subject, found[subject]


def path_groups(group: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return one subject's rows that count, path by path; a median over several paths lies where no pair is.

    The last may be `several`: what whole trials measured whose pairs have different paths.
    """
    rows = counted(group)
    of_path = {str(path): part for path, part in rows.groupby("path", sort=False)}
    return [(path, of_path[path]) for path in (*VERDICTS, SEVERAL, "") if path in of_path] or [("", rows)]


def columns_of(key: str) -> list[Column]:
    """Return the columns that the probes declare for a table, in the probes' order."""
    return [column for one in shown().values() for column in one.columns if column.table == key]


def cell(column: Column, rows: pd.DataFrame, overlay: str, path: str = "", *, intervals: bool = False) -> str:
    """Return what a column says of some rows of an overlay, all of which have that path; `beside` it, if asked."""
    if overlay == "underlay" and not column.of_underlay:
        return NOTHING
    text = _cell(column, rows, path)
    return f"{text}{beside(column, rows)}" if intervals and text != NOTHING else text


def _cell(column: Column, rows: pd.DataFrame, path: str) -> str:
    values = rows[column.metric]
    match column.form:
        case "path":
            text = f"{_measured(rows)} {path}" if path and len(rows) else NOTHING
        case "success":
            text = success_text(rows, column.metric)
        case "count":
            text = k_of_n(values)
        case "percent":
            text = percent(values)
        case "time":
            text = middle(values, rows["deadline_s"], column.digits)
        case "late":
            text = middle(values, digits=column.digits, beyond="late")
        case "gap":
            text = middle(values, digits=column.digits, beyond="open")
        case "median":
            text = middle(values, digits=column.digits)
    return text


def filled(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the places of the columns to show: some row says something, or the column always stands."""
    return [
        at for at, column in enumerate(columns) if column.always or any(row[at] not in {"", NOTHING} for row in rows)
    ]


def layer_of(group: pd.DataFrame) -> str:
    """Return the layer at which a subject carries, empty where its records do not tell."""
    return ", ".join(sorted({str(layer) for layer in group["layer"]} - {""}))


def with_layers(
    header: Sequence[str], rows: Sequence[Sequence[str]], layers: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and rows with a column of layers after the subject's, where any row has one."""
    if not any(layers):
        return tuple(header), [tuple(row) for row in rows]
    placed = [(row[0], layer, *row[1:]) for row, layer in zip(rows, layers, strict=True)]
    return (header[0], "layer", *header[1:]), placed


def overview(rows: pd.DataFrame, *, intervals: bool = False) -> TextTable:
    """Return a row per overlay, mode and path over all its pairs of members (the frame of `pairs_frame`).

    Success and the time to a direct path are over all paths, so they stand in a subject's first row; what a path costs
    is never pooled over paths.
    """
    columns = columns_of(OVERVIEW)
    names: list[str] = []
    layers: list[str] = []
    found: list[list[str]] = []
    spoilt: list[str] = []
    for (overlay, mode), group in groups(rows):
        parts = [(path, part) for path, part in path_groups(group) if path != SEVERAL]
        for number, (path, part) in enumerate(parts):
            names.append(subject_name(overlay, mode))
            layers.append(layer_of(group))
            found.append(
                [
                    cell(column, part, overlay, path, intervals=intervals)
                    if not column.of_all_paths
                    else (cell(column, group, overlay, intervals=intervals) if number == 0 else "")
                    for column in columns
                ]
            )
            spoilt.append(left_out(outcomes(group)) if number == 0 else "")
    kept = filled(columns, found)
    header, table = with_layers(
        ("overlay", *(columns[at].header for at in kept)),
        [(name, *(texts[at] for at in kept)) for name, texts in zip(names, found, strict=True)],
        layers,
    )
    if any(spoilt):
        header, table = (*header, "not ok"), [(*row, text) for row, text in zip(table, spoilt, strict=True)]
    all_of_them, that_count = rows["trial"].nunique(), counted(rows)["trial"].nunique()
    over = (
        f"{all_of_them} trials" if that_count == all_of_them else f"the {that_count} of {all_of_them} trials that count"
    )
    many = cells_of(rows.assign(overlay="", mode="")).nunique()
    over += f" in {many} cells" if many > 1 else ""
    note = f"Medians over {over}, for each path separately"
    of_all = [columns[at].header for at in kept if columns[at].of_all_paths]
    note += f" ({' and '.join(of_all)}: over all paths)" if of_all else ""
    note += f". >: not by the deadline. The path is {verdict_of(rows)}."
    if any("cells" in text for row in table for text in row):
        note += " A cell is a pair of NATs; hole punch counts the cells in which all trials were direct."
    if (rows["trial"][rows["src"].ne("")].duplicated() if "src" in rows else pd.Series(dtype=bool)).any():
        note += " Paths and medians are over pairs of members; a trial succeeds if all of its pairs do."
    note = f"{note} {note_on([text for row in table for text in row])}".strip()
    first = 2 if any(layers) else 1
    numeric = frozenset(place for place, at in enumerate(kept, first) if columns[at].form != "path")
    return TextTable("Overlays", header, tuple(table), numeric, note)


def path_matrix(rows: pd.DataFrame) -> TextTable:
    """Return NAT pairs and overlays: the path that was seen. Of many overlays each has a row, else a column."""
    rows = rows[rows["nat_a"] != SEVERAL]
    subjects = [subject for subject, _ in groups(rows) if subject[0] != "underlay"]
    pairs = sorted(
        set(zip(rows["nat_a"], rows["nat_b"], strict=True)), key=lambda pair: (nat_rank(pair[0]), nat_rank(pair[1]))
    )
    by_cell = dict(iter(rows.groupby(["overlay", "mode", "nat_a", "nat_b"], sort=False)))
    cells = [[path_cell(by_cell.get((*subject, *pair))) for subject in subjects] for pair in pairs]
    names = [nat_pair(*pair) for pair in pairs]
    layers = {subject: layer_of(group) for subject, group in groups(rows)}
    across = [subject_name(*one) + (f" ({layers[one]})" if layers[one] else "") for one in subjects]
    corner = "NATs"
    if len(subjects) > max(len(pairs), _MOST_ACROSS):
        cells, names, across, corner = [list(row) for row in zip(*cells, strict=True)], across, names, "overlay"
    return TextTable(
        "Paths by NAT pair",
        (corner, *across),
        tuple((name, *row) for name, row in zip(names, cells, strict=True)),
        note="direct: hole punched. relayed: through a relay or hub. none: no answer within the deadline.",
    )


def nat_pair(nat_a: str, nat_b: str) -> str:
    """Return a pair of NATs as people read it."""
    return " x ".join(label or "no NAT" for label in (nat_a, nat_b))


def success_text(group: pd.DataFrame, metric: str = "hole_punch_success") -> str:
    """Return how often a subject succeeded, with what was counted.

    In one cell that is trials ("9/10"), and where a trial has several pairs of members these as well. Over cells, the
    outcome is set by the NATs that the scenario chose, and a rate would be one of that choice: then it is the number of
    cells in which it always succeeds, and of those in which it sometimes does.
    """
    tried = group[group[metric].notna()]
    if tried.empty:
        return NOTHING
    cells = cells_of(tried)
    if is_one_cell(tried):
        by_trial = tried.groupby("trial", sort=False)[metric]
        whole = f"{int(by_trial.min().sum())}/{by_trial.ngroups}"
        if len(tried) == by_trial.ngroups:
            return whole
        return f"{int(tried[metric].sum())}/{len(tried)} pairs, {whole} trials"
    rates = tried.groupby(cells, sort=False)[metric].mean()
    part = int(((rates > 0) & (rates < 1)).sum())
    return f"{int((rates == 1).sum())}/{len(rates)} cells" + (f", {part} partly" if part else "")


def outcomes(group: pd.DataFrame) -> pd.Series:
    """Return the outcome of each trial, of which a row per pair may be there."""
    return group.drop_duplicates("trial")["outcome"]


def _measured(part: pd.DataFrame) -> int:
    return int(part["src"].ne("").sum()) or part["trial"].nunique() if "src" in part else len(part)


def k_of_n(values: pd.Series) -> str:
    """Return successes of what counts."""
    counted_values = values.dropna()
    return f"{int(counted_values.sum())}/{len(counted_values)}" if len(counted_values) else NOTHING


def middle(values: pd.Series, deadlines: pd.Series | None = None, digits: int = 2, beyond: str = "lost") -> str:
    """Return the median; `>15` where it lies beyond the deadline, `beyond` where what is measured has none."""
    counted = as_floats(values.dropna())
    if not counted.size:
        return NOTHING
    value = statistics.middle(counted)
    if np.isinf(value):
        if deadlines is None:
            return beyond
        bound = as_floats(deadlines.dropna())
        return f">{bound.min():g}" if bound.size else ">deadline"
    return f"{value:.{digits}f}"


def percent(values: pd.Series) -> str:
    """Return the median of ratios as a percentage."""
    counted = as_floats(values.dropna())
    if not counted.size:
        return NOTHING
    share = 100 * statistics.middle(counted)
    return f"{share:.0f} %" if share >= 10 else f"{share:.1f} %"


def left_out(outcomes: pd.Series | Sequence[str]) -> str:
    """Return the trials that are not ok, by reason."""
    counts = Counter(outcomes)
    return ", ".join(f"{counts[name]} {name}" for name in INSTEAD if counts[name])


def path_cell(group: pd.DataFrame | None) -> str:
    """Return the paths of one cell and how often each was seen; where there is none, why."""
    if group is None:
        return ""
    paths = [path for path in counted(group)["path"] if path not in {"", SEVERAL}]
    words = [path if n == len(paths) else f"{path} {n}/{len(paths)}" for path, n in Counter(paths).most_common()]
    return ", ".join(words) or left_out(outcomes(group)) or NOTHING
