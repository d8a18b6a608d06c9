"""How soon: ECDF of times that are censored at a deadline."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness.report.order import subject_name
from harness.report.plots.figure import Plot
from harness.report.plots.scales import LETTERS, around, logarithmic
from harness.report.plots.style import Look, height_with_legend, legend_below, mark
from harness.report.tables import groups
from harness.results.statistics import as_floats


def time_plot(
    trials: pd.DataFrame, metric: str, look_of: Mapping[tuple[str, str], Look], *, title: str, suffix: str = ""
) -> list[Plot]:
    """Return the share of pairs of members that got there by each moment; late ones keep it below 1. None without data.

    With two members that is the share of trials.
    """
    rows = []
    several = bool(trials.loc[trials["src"] != "", "trial"].duplicated().any()) if "src" in trials else False
    unit = "pairs of members" if several else "trials"
    for (overlay, mode), group in groups(trials):
        times = np.sort(as_floats(group[metric].dropna()))
        if overlay == "underlay" or not times.size:
            continue
        bound = as_floats(group["deadline_s"].dropna())
        end = float(bound.min()) if bound.size else float(np.max(times[np.isfinite(times)], initial=1.0))
        for rank, time in enumerate(times, 1):
            rows.append((overlay, mode, min(time, end), bool(np.isinf(time)), rank / times.size, times.size))
    if not rows:
        return []
    data = pd.DataFrame(rows, columns=["overlay", "mode", "time_s", "censored", "share", "trials"])

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        latest, start = data["time_s"].max(), max(data["time_s"].min() / 1.5, 1e-3)
        for (overlay, mode), part in groups(data):
            look = look_of[overlay, mode]
            reached = part[~part["censored"]]
            x = [start, *reached["time_s"], latest]
            y = [0.0, *reached["share"], reached["share"].max() if len(reached) else 0.0]
            count = f"{len(reached)}/{len(part)}"
            name = f"{subject_name(overlay, mode)}, {count}"
            (line,) = axes.step(x, y, where="post", color=look.colour, linestyle=look.dashes, label=name)
            mark(line, look)
            if len(reached) < len(part):
                axes.plot([latest], [y[-1]], marker="x", color=look.colour, clip_on=False, markersize=7)
        logarithmic(axes, *around(start, latest))
        axes.set(xlabel=textwrap.fill(f"{title}, since the last daemon started (s, log scale)", LETTERS))
        axes.set(ylabel=f"share of {unit}", ylim=(0, 1.03))
        legend_below(figure, axes)

    height = height_with_legend(data.groupby(["overlay", "mode"], sort=False).ngroups)
    caption = (
        f"Time since the start of the last member's daemon. Cross: some {unit} had not succeeded by the deadline; "
        "they are censored, not left out. Dashed: hubs; dash-dotted: relays."
    )
    return [Plot(metric.removesuffix("_s").replace("_", "-") + suffix, title, caption, data, height, draw)]
