"""What stands beside a table's figure: its interval where all trials repeat one cell, else how many cells it is of."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.results import statistics
from harness.results.cells import CONDITION
from harness.results.clusters import estimate
from harness.results.declared import Column

RANGES = (
    "A median of fewer than six trials has the range of its values instead, which contains the true median with a "
    "probability of "
    + ", ".join(
        f"{100 * statistics.range_coverage(n):.0f} % ({n} trials)" for n in range(2, statistics.FEWEST_FOR_INTERVAL)
    )
    + "."
)
INTERVALS = f"In brackets: 95 % intervals. {RANGES}"
OVER_CELLS = (
    "In parentheses: the number of cells that a figure is over. Cells were chosen, not drawn at random, so that such a "
    "figure has no interval."
)


def cells_of(rows: pd.DataFrame) -> pd.Series:
    """Return the cell of each row as text: its condition and the NATs in front of its pair of members.

    Rows of phases have it as a column of its own (`in_cells`).
    """
    if "cell" in rows:
        return rows["cell"]
    columns = (rows[name].astype(str) for name in CONDITION)
    return pd.Series([" ".join(values) for values in zip(*columns, strict=True)], index=rows.index, dtype=object)


def in_cells(phases: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows of `phases_frame` with the cell of their pair of members in `rows` (of `pairs_frame`)."""
    names = dict(zip(_pairs(rows), cells_of(rows), strict=True))
    return phases.assign(cell=[names.get(pair, "") for pair in _pairs(phases)])


def _pairs(rows: pd.DataFrame) -> list[tuple[str, frozenset[str]]]:
    ends = zip(*(rows[name] for name in ("trial", "src", "dst")), strict=True)
    return [(trial, frozenset((src, dst))) for trial, src, dst in ends]


def is_one_cell(rows: pd.DataFrame) -> bool:
    """Tell whether all trials repeat one cell; pairs of one trial may have different NATs in front of them."""
    seen = pd.DataFrame({"trial": rows["trial"], "cell": cells_of(rows)}).drop_duplicates()
    # Every trial has every cell: then, and only then, all have the same ones.
    return bool(len(seen) == seen["trial"].nunique() * seen["cell"].nunique() > 0)


def beside(column: Column, rows: pd.DataFrame) -> str:
    """Return what stands beside a cell's figure of these rows, in its unit and with its digits; empty: nothing.

    The NATs of cells were chosen: what is over several of them has no interval but their number. Nor has a rate over
    pairs of one trial that have different NATs in front of them.
    """
    tried = rows[rows[column.metric].notna()]
    if tried.empty or column.form == "path":
        return ""
    rate = column.form in {"count", "success"}
    cells = cells_of(tried).nunique()
    if not is_one_cell(tried) or (rate and cells > 1):
        # Successes over cells are a count of cells already.
        return "" if column.form == "success" else f" ({cells} cells)"
    found = estimate(column.metric, [float(one) for one in tried[column.metric]], list(tried["trial"]))
    if np.isnan(found.low):
        return ""
    in_percent = rate or column.form == "percent"
    digits, factor = (0, 100) if in_percent else (column.digits, 1)
    ends = ["late" if np.isinf(end) else f"{factor * end:.{digits}f}" for end in (found.low, found.high)]
    return f" [{ends[0]}, {ends[1]}{' %' if in_percent else ''}]"


def note_on(texts: list[str]) -> str:
    """Return what explains the brackets and parentheses that stand in these cells of a table."""
    said = [INTERVALS] if any(text.endswith("]") for text in texts) else []
    said += [OVER_CELLS] if any(text.endswith(" cells)") for text in texts) else []
    return " ".join(said)
