"""A text table as Markdown, LaTeX, or lines for a pipe."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from harness.report.tables import TextTable

# More columns of figures than this are wider than one column of a paper.
_ONE_COLUMN = 5
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    ">": r"$>$",
    "<": r"$<$",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}


def to_markdown(table: TextTable) -> str:
    """Return the table in Markdown (GitHub's and most others'), columns aligned for reading as text, too."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in (table.header, *table.rows)]
    widths = [max(3, *(len(row[i]) for row in rows)) for i in range(len(table.header))]

    def line(cells: list[str]) -> str:
        padded = [
            cell.rjust(width) if i in table.numeric else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * (w - 1) + ":") if i in table.numeric else "-" * w for i, w in enumerate(widths)]
    return "\n".join([line(rows[0]), line(rule), *(line(row) for row in rows[1:])]) + "\n"


def markdown_of(tables_by_condition: Sequence[tuple[str, Sequence[TextTable]]]) -> str:
    """Return tables with their titles and notes, below the label of each condition where there are several."""
    parts = []
    for label, tables in tables_by_condition:
        parts += [f"## {label}"] * bool(label)
        parts += [f"### {table.title}\n\n{to_markdown(table)}\n{table.note}" for table in tables]
    return "\n\n".join(parts) + "\n"


def latex_of(tables_by_condition: Sequence[tuple[str, Sequence[TextTable]]]) -> str:
    """Return the tables as LaTeX, each caption with its condition."""
    return "\n".join(to_latex(table) for table in titled(tables_by_condition))


def titled(tables_by_condition: Sequence[tuple[str, Sequence[TextTable]]]) -> list[TextTable]:
    """Return all tables, each title with its condition."""
    return [
        replace(table, title=f"{table.title}, {label}" if label else table.title)
        for label, tables in tables_by_condition
        for table in tables
    ]


def write_tables(
    tables_by_condition: Sequence[tuple[str, Sequence[TextTable]]], folder: Path, form: str
) -> Iterator[Path]:
    """Write a file for each table, named after its title, and yield the paths; `form` is `md` or `latex`."""
    folder.mkdir(parents=True, exist_ok=True)
    for table in titled(tables_by_condition):
        path = folder / f"{slug(table.title)}{'.md' if form == 'md' else '.tex'}"
        path.write_text(
            to_latex(table) if form == "latex" else f"{to_markdown(table)}\n{table.note}\n", encoding="utf-8"
        )
        yield path


def slug(title: str) -> str:
    """Return a title as a file's name and a LaTeX label."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def to_latex(table: TextTable) -> str:
    """Return the table as a LaTeX `table` with caption and label; needs the package booktabs.

    Its text is as large as that of all other tables; one of many columns spans both columns of a paper.
    """
    place = "table*" if len(table.header) > _ONE_COLUMN else "table"
    columns = "".join("r" if i in table.numeric else "l" for i in range(len(table.header)))
    body = [" & ".join(latex_text(cell) for cell in row) + r" \\" for row in (table.header, *table.rows)]
    return "\n".join(
        [
            rf"\begin{{{place}}}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{latex_text(table.title)}. {latex_text(table.note)}}}",
            rf"\label{{tab:{slug(table.title)}}}",
            rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
            r"\toprule",
            body[0],
            r"\midrule",
            *body[1:],
            r"\bottomrule",
            r"\end{tabular}",
            rf"\end{{{place}}}",
            "",
        ]
    )


def to_csv(table: TextTable) -> str:
    """Return the table as CSV, cells as they are shown."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([table.header, *table.rows])
    return out.getvalue()


def latex_text(text: str) -> str:
    """Return text with LaTeX's special characters escaped."""
    return "".join(_LATEX.get(char, char) for char in text)
