"""What an overlay costs, cell by cell and path by path: the columns that the report's tables have. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.measured import declared_tables
from harness.report.tables import NOTHING, TextTable, cell, columns_of, filled, nat_pair, path_groups
from harness.results.declared import OVERVIEW
from harness.site.figures import Cell


def cost_tables(cells: Sequence[Cell]) -> list[TextTable]:
    """Return a table for each that the report declares, with a row per cell and path; those without a figure not."""
    tables = [("Overview", OVERVIEW), *((table.title, table.key) for table in declared_tables() if not table.by_phase)]
    made = [_table(title, key, [one for one in cells if not one.subject.part]) for title, key in tables]
    return [table for table in made if table is not None]


def _table(title: str, key: str, cells: Sequence[Cell]) -> TextTable | None:
    recorded = {metric.name for one in cells for metric in one.subject.run.metrics}
    columns = [column for column in columns_of(key) if column.metric in recorded and column.form != "path"]
    names: list[tuple[str, ...]] = []
    found: list[list[str]] = []
    for one in cells:
        subject = one.subject
        for path, part in path_groups(one.rows):
            texts = [
                cell(column, part, subject.overlay, path) if column.metric in part else NOTHING for column in columns
            ]
            if any(text != NOTHING for text in texts):
                names.append((subject.mode, nat_pair(*one.nats), path, subject.run.name, one.condition.title))
                found.append(texts)
    kept = filled(columns, found)
    if not found or not kept:
        return None
    header = ("mode", "NATs", "path", *(columns[at].header for at in kept), "run", "condition")
    rows = [(*name[:3], *(texts[at] for at in kept), *name[3:]) for name, texts in zip(names, found, strict=True)]
    return TextTable(title, header, tuple(rows), frozenset(range(3, 3 + len(kept))))
