"""A dot per run and a bar at the median, a row per subject: throughput, cost, emulator lateness."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.order import subject_name
from harness.report.plots.figure import Plot
from harness.report.plots.scales import LETTERS, fit_differences, fit_x, up_to
from harness.report.plots.style import INK, UNDERLAY, Look
from harness.report.tables import groups
from harness.results import declared
from harness.results.metrics import metric_of
from harness.results.statistics import as_floats, middle


def strip_plot(
    trials: pd.DataFrame, wanted: declared.Plot, look_of: Mapping[tuple[str, str], Look], suffix: str = ""
) -> list[Plot]:
    """Return a plot with a dot per trial, filled for a direct path, else hollow, and medians. None without data.

    What was lost (inf) is a cross at the edge and counts in the medians, as it does in the tables.
    """
    metric = wanted.metric
    parts = []
    for (overlay, _), group in groups(trials):
        kept = group[group[metric].notna()]
        columns = kept[["overlay", "mode", "nat_a", "nat_b", "repeat", "path", metric]]
        if len(columns) and (wanted.of_underlay or overlay != "underlay"):
            parts.append(columns)
    if not any(np.isfinite(as_floats(part[metric])).any() for part in parts):
        return []
    data = pd.concat(parts, ignore_index=True)

    values_of = as_floats(data[metric])
    finite = values_of[np.isfinite(values_of)]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        subjects = list(groups(data))
        for place, (subject, rows) in enumerate(subjects):
            _draw_subject(axes, place, rows, metric, look_of[subject])
        axes.set_yticks(range(len(subjects)), [subject_name(*subject) for subject, _ in subjects])
        axes.set(ylim=(len(subjects) - 0.5, -0.5))
        if (finite >= 0).all():
            # A share of the whole axis: the automatic margin is one of the values' own span, which cuts dots in half.
            # Dots at the ends stand whole: the axis does not clip them.
            axes.set_xlim(0, up_to(1.05 * max(float(finite.max()), float(wanted.ratio))) or 1.0)
        if wanted.difference:
            # Near zero these are noise of either sign, which a logarithmic axis would spread over its whole width.
            fit_differences(axes, finite, whole_label(wanted))
        else:
            fit_x(axes, finite, whole_label(wanted))
        if wanted.ratio:
            axes.axvline(1.0, color=UNDERLAY, linestyle=":")
        axes.grid(visible=False, axis="y")

    height = 1.0 + 0.36 * data.groupby(["overlay", "mode"]).ngroups
    note = "One dot per run, hollow if not direct. Bars: medians; dashed: medians of the hollow dots."
    if np.isinf(values_of).any():
        what = "in which too many packets were lost for a value"
        if metric_of(metric).unit == "s":
            what = "in which it had not ended by the end of the measurement"
        note += f" A cross at the edge: a run {what}; it counts in the medians."
    note = f"{note} {wanted.caption}".strip()
    return [Plot(metric.replace("_", "-") + suffix, wanted.title, note, data, height, draw)]


def whole_label(wanted: declared.Plot) -> str:
    """Return what an axis shows, by itself: a figure in a paper has no title beside it."""
    between = " " if wanted.label.startswith("(") else ", "
    return textwrap.fill(f"{wanted.title}{between}{wanted.label}", LETTERS)


def _draw_subject(axes: Axes, place: int, rows: pd.DataFrame, metric: str, look: Look) -> None:
    values = as_floats(rows[metric])
    lost = np.isinf(values)
    # Dots of equal values would hide each other; the spread means nothing.
    rows_of_dots = min(5, values.size)
    spread = place + (np.arange(values.size) % rows_of_dots - (rows_of_dots - 1) / 2) * 0.09
    hollow = ~rows["path"].isin(["direct", ""]).to_numpy()
    size = (0.4 * mpl.rcParams["font.size"]) ** 2
    edge = axes.get_yaxis_transform()  # 1 is the right end, whatever the axis shows
    for mask, face, dashes in ((~hollow, look.colour, "-"), (hollow, "none", (0, (2, 1)))):
        x, y = values[mask & ~lost], spread[mask & ~lost]
        axes.scatter(x, y, s=size, marker=look.dot, facecolors=face, edgecolors=look.colour, zorder=3, clip_on=False)
        # Direct and other paths are two populations; a median over both would lie where no run was.
        if np.count_nonzero(mask) > 1:
            median = middle(values[mask])
            at, transform = (1.0, edge) if np.isinf(median) else (median, axes.transData)
            ends = (place - 0.38, place + 0.38)
            bar = axes.vlines(at, *ends, color=INK, linewidth=1.4, linestyle=dashes, zorder=2, transform=transform)
            bar.set_clip_on(False)
    if lost.any():
        crosses = np.ones(np.count_nonzero(lost))
        axes.scatter(crosses, spread[lost], s=size, marker="x", color=look.colour, transform=edge, clip_on=False)
