"""A text table as Markdown, LaTeX, or lines for a pipe."""

from __future__ import annotations

from harness.report.tables import TextTable

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    ">": r"$>$",
    "<": r"$<$",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}


def to_markdown(table: TextTable) -> str:
    """The table in the Markdown of GitHub and of most other readers, columns aligned for reading as text, too."""
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


def to_latex(table: TextTable) -> str:
    """The table as a LaTeX `table` for a paper; needs the package booktabs."""
    columns = "".join("r" if i in table.numeric else "l" for i in range(len(table.header)))
    body = [" & ".join(latex_text(cell) for cell in row) + r" \\" for row in (table.header, *table.rows)]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{latex_text(table.title)}. {latex_text(table.note)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            body[0],
            r"\midrule",
            *body[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def latex_text(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(_LATEX.get(char, char) for char in text)
