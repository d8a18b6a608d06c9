"""A series over its points: a dot per trial, a line through the runs' medians, a level before and after each change."""

from __future__ import annotations

import re
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.report.plots.figure import Plot
from harness.report.plots.style import COLOURS, INK, UNDERLAY
from harness.results.series import HistoryCell, Series
from harness.results.statistics import Floats, as_floats
from harness.results.trend import Finding

_MOST_CELLS = 6
_MOST_LABELS = 24
_PER_CELL_IN = 1.5


def history_plot(series: Series, findings: Sequence[Finding], number: int) -> Plot:
    """Return the plot of a series with what was found in it; `number` makes its name unique."""
    named = [name for one in findings for name in one.change.named]
    cells = sorted(series.parts, key=lambda cell: cell.name not in named)[:_MOST_CELLS]
    left = len(series.parts) - len(cells)
    title = f"{series.subject}: {series.metric}"
    title += "".join(f" ({word})" for word in (series.phase, series.machine) if word)
    caption = "One dot per trial; the line connects the runs' medians (for rates: shares)."
    if any(np.isinf(cell.values).any() for cell in cells):
        caption += " Crosses at the edge: not by the deadline."
    caption += " Vertical lines: changes; shaded: where a change may lie (95 % interval)." if findings else ""
    caption += f" {left} more cells are in the table." if left > 0 else ""
    data = pd.concat([_data(series, cell) for cell in cells], ignore_index=True)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(len(cells), 1, sharex=True, squeeze=False)
        for axes, cell in zip(grid[:, 0], cells, strict=True):
            _draw(axes, series, cell, findings)
        points = series.axis.points
        step = -(-len(points) // _MOST_LABELS)
        places = range(0, len(points), step)
        grid[-1, 0].set_xticks(list(places), [points[place] for place in places], rotation=60, ha="right")
        unit = "share" if series.unit == "1" else series.unit
        figure.supylabel(f"{series.metric} ({unit})", fontsize=mpl.rcParams["axes.labelsize"])

    height = 1.1 + _PER_CELL_IN * len(cells)
    name = re.sub(r"[^a-z0-9]+", "-", f"{number:03} {series.subject} {series.metric}".lower()).strip("-")
    return Plot(name, title, caption, data, height, draw)


def _data(series: Series, cell: HistoryCell) -> pd.DataFrame:
    points = [series.axis.points[series.axis.sessions[session]] for session in cell.sessions]
    return pd.DataFrame({"cell": cell.name, "point": points, "session": cell.sessions, "value": cell.values})


def _draw(axes: Axes, series: Series, cell: HistoryCell, findings: Sequence[Finding]) -> None:
    of_session = np.asarray(series.axis.sessions)
    places = of_session[cell.sessions]
    # Dots of equal values would hide each other; the spread means nothing.
    spread = places + (np.arange(places.size) % 5 - 2) * 0.06
    known = np.isfinite(cell.values)
    size = (0.3 * mpl.rcParams["font.size"]) ** 2
    axes.scatter(spread[known], cell.values[known], s=size, color=COLOURS[0], alpha=0.5, linewidths=0)
    if not known.all():
        edge = axes.get_xaxis_transform()
        top = np.ones(int((~known).sum()))
        axes.scatter(spread[~known], top, s=size * 2, marker="x", color=COLOURS[1], transform=edge, clip_on=False)
    matrix = series.matrix[:, series.parts.index(cell)]
    shown = np.isfinite(matrix)
    axes.plot(of_session[shown], matrix[shown], color=UNDERLAY, zorder=1)
    _mark(axes, series, matrix, findings)
    if series.is_rate:
        axes.set_ylim(-0.05, 1.05)
    elif known.any() and (cell.values[known] >= 0).all():
        axes.set_ylim(bottom=0, top=1.1 * float(cell.values[known].max()) or 1.0)
    axes.set_title(cell.name, loc="left")
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlim(-0.6, len(series.axis.points) - 0.4)


def _mark(axes: Axes, series: Series, matrix: Floats, findings: Sequence[Finding]) -> None:
    points = series.axis.points
    steps = sorted(points.index(one.at) for one in findings if one.kind == "step")
    for one in findings:
        colour = COLOURS[1] if one.change.verdict == "regression" else COLOURS[2]
        if one.kind != "step":
            axes.axvspan(points.index(one.before), points.index(one.at), color=colour, alpha=0.12, linewidth=0)
            continue
        low, high = (points.index(name) for name in one.between)
        axes.axvspan(low + 0.5, high - 0.5, color=colour, alpha=0.15, linewidth=0)
        axes.axvline(points.index(one.at) - 0.5, color=colour)
    if not steps:
        return
    of_session = np.asarray(series.axis.sessions)
    for first, end in zip([0, *steps], [*steps, len(points)], strict=True):
        inside = as_floats(matrix[(of_session >= first) & (of_session < end)])
        inside = inside[np.isfinite(inside)]
        if inside.size:
            level = float(inside.mean() if series.is_rate else np.median(inside))
            axes.hlines(level, first - 0.4, end - 0.6, color=INK, linewidth=1.4)
