"""Tables of what the probes declare: those that only some scenarios fill."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.report.intervals import in_cells, note_on
from harness.report.order import subject_name
from harness.report.tables import (
    NOTHING,
    TextTable,
    cell,
    columns_of,
    filled,
    groups,
    layer_of,
    overview,
    path_groups,
    path_matrix,
    with_layers,
)
from harness.results.conditions import condition_labels
from harness.results.declared import Table
from harness.results.metrics import shown
from harness.results.pairs import counted
from harness.results.phases import phase_order


def declared_tables() -> list[Table]:
    """Return the tables that probes declare, in the order of their chapters."""
    places = {chapter.key: chapter.place for one in shown().values() for chapter in one.chapters}
    tables = {table.key: table for one in shown().values() for table in one.tables}
    return sorted(tables.values(), key=lambda table: places[table.chapter])


def all_tables(rows: pd.DataFrame, phases: pd.DataFrame | None = None, *, intervals: bool = False) -> list[TextTable]:
    """Return every table that these rows (of `pairs_frame` and `phases_frame`) fill, the overview first."""
    paths = path_matrix(rows)
    rare = (table_of(table, rows, phases, intervals=intervals) for table in declared_tables())
    return [
        overview(rows, intervals=intervals),
        *([paths] if len(paths.header) > 1 else []),  # the underlay alone has no column there
        *(table for table in rare if table is not None),
    ]


def tables_by_condition(
    rows: pd.DataFrame, phases: pd.DataFrame | None = None, *, intervals: bool = False
) -> list[tuple[str, list[TextTable]]]:
    """Return the tables of each condition (`condition_labels`) with its label, empty where there is but one."""
    labels = condition_labels(rows)
    parts = [(name, rows[labels == name]) for name in sorted(set(labels))]
    return [(name, all_tables(part, phases, intervals=intervals)) for name, part in parts]


def table_of(
    table: Table, rows: pd.DataFrame, phases: pd.DataFrame | None = None, *, intervals: bool = False
) -> TextTable | None:
    """Return a row per subject and path, without empty columns and rows without any figure; None: empty.

    A table of phases has a row per subject, phase and path, of the trials in `rows`.
    """
    if table.by_phase:
        own = None if phases is None else phases[phases["trial"].isin(rows["trial"])]
        return None if own is None else _phase_table(table, in_cells(own, rows), intervals=intervals)
    columns = columns_of(table.key)
    found = []
    layers: list[str] = []
    for (overlay, mode), group in groups(rows):
        name = subject_name(overlay, mode)
        parts = [
            (path, [cell(column, part, overlay, intervals=intervals) for column in columns])
            for path, part in ([("", counted(group))] if table.of_all_paths else path_groups(group))
        ]
        said = [(path, texts) for path, texts in parts if any(text != NOTHING for text in texts)] or parts[:1]
        found += [(f"{name}, {path}" if len(said) > 1 else name, texts) for path, texts in said]
        layers += [layer_of(group)] * len(said)
    kept = filled(columns, [texts for _, texts in found])
    if not any(texts[at] != NOTHING for _, texts in found for at in kept):
        return None
    header, shown_rows = with_layers(
        ("overlay", *(columns[at].header for at in kept)),
        [(name, *(texts[at] for at in kept)) for name, texts in found],
        layers,
    )
    numeric = frozenset(range(len(header) - len(kept), len(header)))
    return TextTable(table.title, header, tuple(shown_rows), numeric, _note(table, shown_rows))


def _note(table: Table, rows: Sequence[Sequence[str]]) -> str:
    return f"{table.note} {note_on([text for row in rows for text in row])}".strip()


def _phase_table(table: Table, phases: pd.DataFrame, *, intervals: bool) -> TextTable | None:
    columns = columns_of(table.key)
    names, found = [], []
    for (overlay, mode), group in groups(phases):
        for phase in phase_order(group):
            for path, part in path_groups(group[group["phase"] == phase]):
                names.append((subject_name(overlay, mode), phase))
                found.append([cell(column, part, overlay, path, intervals=intervals) for column in columns])
    kept = filled(columns, found)
    if not found:
        return None
    shown_rows = [(*name, *(texts[at] for at in kept)) for name, texts in zip(names, found, strict=True)]
    return TextTable(
        table.title,
        ("overlay", "phase", *(columns[at].header for at in kept)),
        tuple(shown_rows),
        frozenset(place for place, at in enumerate(kept, 2) if columns[at].form != "path"),
        _note(table, shown_rows),
    )
