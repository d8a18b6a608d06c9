"""What `overlaybench run` shows at its end."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.report.measured import declared_tables, table_of
from harness.report.tables import TextTable, overview, path_matrix
from harness.results.conditions import condition_labels
from harness.results.pairs import pairs_frame
from harness.results.phases import phases_frame

NO_BREAK = "\u00a0"
_COUNT = re.compile(r"(\d+) ")

# Never the colour alone: the word is always there.
_STYLES = {
    "direct": "green",
    "relayed": "yellow",
    "asymmetric": "yellow",
    "mixed": "yellow",
    "none": "red",
    "failed": "red",
}


def print_results(records: pd.DataFrame, console: Console) -> None:
    """Print the main tables of every condition, and those of phases where a timeline ran.

    Into a pipe they are as wide as they need to be, without colours.
    """
    rows, phases = pairs_frame(records), phases_frame(records)
    labels = condition_labels(rows)
    for label in sorted(set(labels)):
        part = rows[labels == label]
        of_phases = [table_of(table, part, phases) for table in declared_tables() if table.by_phase]
        for text in (overview(part), path_matrix(part), *(table for table in of_phases if table is not None)):
            titled = replace(text, title=f"{text.title}: {label}") if label else text
            # Other programs that read a pipe expect plain spaces.
            table = rich_table(titled, bound=console.is_terminal)
            if not console.is_terminal:
                # A pipe has no width; 80 columns would break every cell.
                console.width = console.measure(table, options=console.options.update(max_width=1000)).maximum
            console.print(table)


def rich_table(table: TextTable, *, bound: bool = True) -> Table:
    """Return a text table for the terminal; `bound` keeps short names on one line by spaces that do not break."""
    shown = Table(title=table.title, caption=table.note, title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    shown.pad_edge = False
    rows = [[_bound(cell) if bound else cell for cell in row] for row in table.rows]
    for index, name in enumerate(table.header):
        words = [word for cell in (name, *(row[index] for row in rows)) for word in cell.split(" ")]
        flush: Literal["left", "right"] = "right" if index in table.numeric else "left"
        shown.add_column(name, justify=flush, overflow="fold", min_width=max(map(len, words), default=1))
    for row in rows:
        shown.add_row(*(_styled(cell) for cell in row))
    return shown


def _bound(cell: str) -> str:
    """Return the cell with spaces that do not break in short names ("refmesh mesh") and counts ("5 direct")."""
    return cell.replace(" ", NO_BREAK) if len(cell) <= 16 else _COUNT.sub(rf"\1{NO_BREAK}", cell)


def _styled(cell: str) -> Text:
    words = {word.strip(",") for word in cell.replace(NO_BREAK, " ").split()} & _STYLES.keys()
    return Text(cell, style=_STYLES[words.pop()] if len(words) == 1 else "")
