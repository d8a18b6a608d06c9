"""What a hub costs, as pictures: completion against n, hub over mesh against n and the server's rate, and outages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter

from harness.report.hubcost_words import hub_words
from harness.report.order import subject_key, subject_name
from harness.report.plots.figure import Plot
from harness.report.plots.scales import around
from harness.report.plots.style import UNDERLAY, Look, height_with_legend, legend_below, mark
from harness.results.hubcost import Cost, Hub, Subject, completion
from harness.results.statistics import Estimate

Looks = Mapping[Subject, Look]


def completion_plots(rows: pd.DataFrame, look_of: Looks) -> list[Plot]:
    """Draw the completion time against n, a picture for each workload and server's link with several n."""
    cells: dict[tuple[str, Hub], dict[Subject, list[tuple[int, Estimate]]]] = {}
    for workload, hub, n, subject, estimate in completion(rows):
        if math.isfinite(estimate.value):
            cells.setdefault((workload, hub), {}).setdefault(subject, []).append((n, estimate))
    plots = []
    for (workload, hub), of in cells.items():
        if max((len(points) for points in of.values()), default=0) > 1:
            plots.append(_completion_plot(workload, hub, of, look_of))
    return plots


def _completion_plot(
    workload: str, hub: Hub, of: Mapping[Subject, Sequence[tuple[int, Estimate]]], look_of: Looks
) -> Plot:
    subjects = sorted(of, key=subject_key)
    data = pd.DataFrame(
        [(*subject, n, one.value, one.low, one.high, one.n) for subject in subjects for n, one in of[subject]],
        columns=["overlay", "mode", "n", "completion_s", "ci_low", "ci_high", "repeats"],
    )

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place, subject in enumerate(subjects):
            look = look_of[subject]
            numbers = [n + 0.06 * (place - (len(subjects) - 1) / 2) for n, _ in of[subject]]
            _points(axes, numbers, [one for _, one in of[subject]], look, subject_name(*subject), joined=True)
        axes.set(yscale="log", xlabel="number of parties n", ylabel="completion time (s, log scale)")
        ends = [end for points in of.values() for _, one in points for end in (one.value, one.low, one.high)]
        axes.set_ylim(around(*_extremes(ends)))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(FixedLocator(sorted({n for points in of.values() for n, _ in points})))
        legend_below(figure, axes)

    title = f"Completion time, {workload}, server {hub_words(hub)}"
    caption = "Medians over repeats with their intervals; points of one n are set apart so that none hides another."
    name = f"hub-completion-{workload}-{_slug(hub.name)}"
    return Plot(name, title, caption, data, height_with_legend(len(subjects)), draw)


def ratio_plots(found: Sequence[Cost], look_of: Looks) -> list[Plot]:
    """Draw hub over mesh against n over the ratio of rates, where the server's link should bind from 1 on."""
    known = [cost for cost in found if math.isfinite(cost.hub.ratio) and math.isfinite(cost.ratio.value)]
    workloads = dict.fromkeys(cost.workload for cost in known)
    return [
        _ratio_plot(workload, [one for one in known if one.workload == workload], look_of) for workload in workloads
    ]


def _ratio_plot(workload: str, found: Sequence[Cost], look_of: Looks) -> Plot:
    subjects = sorted({cost.subject for cost in found}, key=subject_key)
    near_ms = min(cost.hub.delay_ms for cost in found)
    data = pd.DataFrame(
        [
            (
                *(*cost.subject, cost.n, cost.hub.ratio, cost.hub.delay_ms, cost.n / cost.hub.ratio),
                *(cost.ratio.value, cost.ratio.low, cost.ratio.high, cost.ratio.n),
            )
            for cost in found
        ],
        columns=["overlay", "mode", "n", "rate_ratio", "delay_ms", "load", "times", "ci_low", "ci_high", "repeats"],
    )

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place, subject in enumerate(subjects):
            for far in (False, True):
                part = [c for c in found if c.subject == subject and (c.hub.delay_ms > near_ms) == far]
                shift = 1 + 0.05 * (place - (len(subjects) - 1) / 2)
                numbers = [shift * cost.n / cost.hub.ratio for cost in part]
                name = subject_name(*subject) if not far or not _has_near(found, subject, near_ms) else ""
                _points(axes, numbers, [cost.ratio for cost in part], look_of[subject], name, joined=False, hollow=far)
        loads = [cost.n / cost.hub.ratio for cost in found]
        reach = np.geomspace(*around(min(loads) / 1.1, max(loads) * 1.1), 200)
        ends = [end for cost in found for end in (cost.ratio.value, cost.ratio.low, cost.ratio.high, 1.0)]
        axes.plot(
            reach, np.maximum(1.0, reach), color=UNDERLAY, linestyle="--", label="expected by rates alone: max(1, x)"
        )
        axes.axhline(1.0, color=UNDERLAY, linestyle=":")
        axes.set(xscale="log", yscale="log", xlim=(reach[0], reach[-1]), ylim=around(*_extremes(ends)))
        axes.set(xlabel="n x access rate / server's rate (log scale)")
        axes.set(ylabel="completion time,\nhub / mesh (log scale)")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        legend_below(figure, axes)

    caption = (
        "Completion time as a multiple of the mesh's, with its interval. Hollow: a more distant server. Right of 1 "
        "the server's link has more to carry than a member's link. An interval that contains 1 and nothing above 1.1 "
        "refutes the claim."
    )
    height = height_with_legend(len(subjects) + 1)
    return Plot(f"hub-ratio-{workload}", f"Hub over mesh, {workload}", caption, data, height, draw)


def _extremes(ends: Sequence[float]) -> tuple[float, float]:
    """Return the smallest and the largest of those that are finite and positive, with room for a marker beyond."""
    known = [end for end in ends if math.isfinite(end) and end > 0]
    return min(known) / 1.05, max(known) * 1.05


def _has_near(found: Sequence[Cost], subject: Subject, near_ms: float) -> bool:
    return any(cost.subject == subject and cost.hub.delay_ms <= near_ms for cost in found)


def outage_plots(samples: pd.DataFrame, look_of: Looks) -> list[Plot]:
    """Draw the rounds done against the time since the server's death, the median of the trials; one of a condition."""
    found = dict(iter(samples.groupby("condition", sort=True)))
    return [_outage_plot(str(name), part, look_of, alone=len(found) == 1) for name, part in found.items()]


def _outage_plot(condition: str, samples: pd.DataFrame, look_of: Looks, *, alone: bool) -> Plot:
    medians = samples.groupby(["overlay", "mode", "since_s"], sort=True)["share"].median().reset_index()
    subjects = sorted({(o, m) for o, m in zip(medians["overlay"], medians["mode"], strict=True)}, key=subject_key)
    rows = -(-len(subjects) // 2)

    def draw(figure: Figure) -> None:
        # A panel each: in one, those that stop lie on each other at 0, and those that go on at 1.
        grid = figure.subplots(rows, min(2, len(subjects)), sharex=True, sharey=True, squeeze=False)
        panels: list[Axes] = list(grid.T.flat)
        for axes, subject in zip(panels, subjects, strict=False):
            part = medians[(medians["overlay"] == subject[0]) & (medians["mode"] == subject[1])]
            look = look_of[subject]
            (line,) = axes.step(
                part["since_s"], part["share"], where="post", color=look.colour, linestyle=look.dashes, clip_on=False
            )
            mark(line, look)
            axes.axvline(0.0, color=UNDERLAY, linestyle=":")
            axes.set_title(subject_name(*subject), loc="left", fontsize="medium", pad=3)
        for axes in panels[len(subjects) :]:
            axes.set_visible(False)
        most = max(1.3, min(2.0, 1.05 * float(medians["share"].max())))
        panels[0].set(ylim=(0, most), yticks=[0, 0.5, 1.0])
        for axes in (panels[rows - 1], panels[len(subjects) - 1]):
            axes.tick_params(labelbottom=True)
        figure.supxlabel("time since the server died (s)", fontsize="medium")
        figure.supylabel("rate of rounds / rate before", fontsize="medium")

    caption = (
        "Rounds done in each second, as a share of the rate before the server died; medians over trials. Dashed: hubs."
    )
    height = 0.6 + 0.75 * rows
    name, title = "hub-outage", "Rounds done since the server died"
    if not alone:
        name, title = f"{name}-{_slug(condition)}", f"{title}, {condition}"
    return Plot(name, title, caption, medians, height, draw)


def direct_plots(found: Mapping[tuple[str, str, int, str], Estimate], look_of: Looks) -> list[Plot]:
    """Draw how often all pairs were direct against n; nothing where it always was."""
    if not found or all(one.value == 1 for one in found.values()) or len({n for _, _, n, _ in found}) < 2:
        return []
    lines: dict[tuple[str, str], list[tuple[int, Estimate]]] = {}
    for (overlay, mode, n, _), one in found.items():
        lines.setdefault((overlay, mode), []).append((n, one))
    data = pd.DataFrame(
        [(*key, one.value, one.low, one.high, one.n) for key, one in found.items()],
        columns=["overlay", "mode", "n", "nats", "share", "ci_low", "ci_high", "trials"],
    )

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place, (subject, points) in enumerate(lines.items()):
            numbers = [n + 0.08 * (place - (len(lines) - 1) / 2) for n, _ in points]
            _points(axes, numbers, [one for _, one in points], look_of[subject], subject_name(*subject), joined=False)
        axes.set(xlabel="number of parties n", ylabel="share of trials with all pairs direct", ylim=(-0.03, 1.03))
        axes.xaxis.set_major_locator(FixedLocator(sorted({n for _, _, n, _ in found})))
        legend_below(figure, axes)

    caption = "Share of trials in which every pair punched a hole, with its 95 % interval (Wilson)."
    return [Plot("hub-all-direct", "All pairs direct", caption, data, height_with_legend(len(lines)), draw)]


def _points(
    axes: Axes,
    numbers: Sequence[float],
    estimates: Sequence[Estimate],
    look: Look,
    name: str,
    *,
    joined: bool,
    hollow: bool = False,
) -> None:
    """Set points with their intervals; what is beyond a deadline has no end to draw."""
    if not numbers:
        return
    values = [one.value for one in estimates]
    errors = [
        [0.0 if not math.isfinite(end) else abs(one.value - end) for one, end in zip(estimates, ends, strict=True)]
        for ends in ([one.low for one in estimates], [one.high for one in estimates])
    ]
    axes.errorbar(
        numbers,
        values,
        yerr=errors,
        color=look.colour,
        marker=look.dot,
        markersize=0.4 * mpl.rcParams["font.size"],
        markerfacecolor="none" if hollow else look.colour,
        linestyle=look.dashes if joined else "none",
        capsize=2,
        label=name or "_far",
    )


def _slug(name: str) -> str:
    return "".join(char if char.isalnum() or char in ".-" else "-" for char in name)
