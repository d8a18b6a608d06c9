"""The figures of a population: success against the share of endpoint-independent mapping, and of whole groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.plots.figure import Plot
from harness.report.plots.style import COLOURS, MARKERS
from harness.results.agreement import CellAgreement, condition_key, of_condition, weighted
from harness.results.counts import Count


def condition_name(params: Mapping[str, Any]) -> str:
    """Return a condition as people read it."""
    words = [str(params["technique"])]
    words += [word for word, on in (("port mapping", params["port_mapping"]), ("IPv6", params["ipv6"])) if on]
    return ", ".join(words)


_DASHES = ("-", "--", "-.", ":")


def _look(number: int) -> dict[str, Any]:
    """Return how the number-th technique is drawn: no two alike in black and white."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": _DASHES[number % len(_DASHES)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 4,
        "markerfacecolor": "none",
        "markeredgewidth": 0.8,
    }


def curves(described: Mapping[str, Any], cells: Sequence[CellAgreement]) -> Plot:
    """Return one curve a technique over shares of endpoint-independent mapping, with the field's figures as bands."""
    rows = []
    for condition in described["conditions"]:
        name = condition_name(condition["params"])
        own = of_condition(cells, condition["params"])
        for point in condition["curve"]:
            engine = weighted(own, {tuple(each[:3]): each[3] for each in point["cells"]})
            rows.append((name, point["eim"], point["pairs"], engine.rate if engine is not None else None))
    data = pd.DataFrame(rows, columns=["technique", "eim_share", "algebra", "engine"])
    bands = [band for band in described["bands"] if _is_of_paths(band)]
    counts = [band for band in described["bands"] if not _is_of_paths(band)]

    def draw(figure: Figure) -> None:
        axes, below = _stacked(figure, len(counts))
        for number, band in enumerate(bands):
            low, high = band["low_percent"], band["high_percent"]
            if high - low < 0.5:
                axes.axhline(low, color="#808080", linestyle=":", linewidth=1)
            else:
                axes.axhspan(low, high, color="#808080", alpha=0.18, linewidth=0)
            at = (low + high) / 2
            beside = sum(abs(at - (each["low_percent"] + each["high_percent"]) / 2) < 4 for each in bands[:number])
            axes.annotate(band["name"], (0.01 + 0.3 * beside, at), fontsize=7, va="center")
        for number, (name, part) in enumerate(data.groupby("technique", sort=False)):
            look = _look(number)
            axes.plot(part["eim_share"], 100 * part["algebra"], label=str(name), **look)
            engine = 100 * part["engine"].astype(float)
            axes.plot(part["eim_share"], engine, **look | {"linestyle": "", "markerfacecolor": look["color"]})
        axes.set(ylabel="pairs direct (%)", ylim=(0, 102))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
        if below is not None:
            _draw_counts(below, counts)
        (below or axes).set_xlabel("share of peers with endpoint-independent mapping")

    caption = (
        "A type of access counts as endpoint-independent if the mappings of all its routers are. That includes types "
        "that let no UDP out and have no direct pairs, so that a curve need not reach 100 % at the right. Lines and "
        "hollow marks: algebra. Filled marks: the engine's cells, reweighted for each share. Grey: field "
        "measurements, each under its own conditions (see the table). The point where a curve crosses one is not an "
        "estimate, because many mixes lead to the same rate."
    )
    if 0 < data["eim_share"].nunique() < 2:
        caption += " All types of access here are alike in this respect, so that there is one point and no curve."
    if counts:
        caption += (
            " Below: studies that counted NATs, peers or ISPs instead of pairs. Filled bars: shares with a mapping "
            "through which holes can be punched, as on the axis, but of NATs, not of these peers. Hatched bars: "
            "shares of something else, for which the axis is only a percentage scale."
        )
    height = 3.4 + 0.18 * math.ceil(len(described["conditions"]) / 2) + (0.35 + 0.24 * len(counts) if counts else 0.0)
    return Plot(
        "population-curves",
        "Direct pairs against the share of endpoint-independent mapping",
        caption,
        data,
        height,
        draw,
    )


def _is_of_paths(band: Mapping[str, Any]) -> bool:
    """Tell whether a field figure is a share of paths that are direct, as the curves are."""
    return band.get("measures", "direct") == "direct" and band["of"] in ("pairs", "attempts", "traffic")


def _stacked(figure: Figure, counts: int) -> tuple[Axes, Axes | None]:
    if not counts:
        return figure.subplots(), None
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.0, 0.2 + 0.24 * counts])
    return axes, below


def _draw_counts(axes: Axes, bands: Sequence[Mapping[str, Any]]) -> None:
    """Draw a bar a field figure, from its low end to its high one; a figure without a range is a stroke."""
    for row, band in enumerate(bands):
        low, high = band["low_percent"] / 100, band["high_percent"] / 100
        of_axis = band.get("measures") == "endpoint-independent"
        axes.barh(
            row + 0.22,
            max(high - low, 0.006),
            left=low,
            height=0.3,
            color="#808080" if of_axis else "none",
            edgecolor="#808080",
            hatch=None if of_axis else "////",
            linewidth=0.6,
        )
        # At the left, as a bar may be anywhere and its words are longer than what is beside it.
        axes.annotate(f"{band['name']}: {figure_of_band(band)}", (0.0, row - 0.2), fontsize=7, va="center")
    axes.set(yticks=[], ylim=(len(bands) - 0.5, -0.5))
    axes.grid(visible=False, axis="y")


_MEASURED = {
    "direct": "",
    "endpoint-independent": ", punchable",
    "carrier-nat": ", with a carrier's NAT",
}


def figure_of_band(band: Mapping[str, Any]) -> str:
    """Return a field figure as people read it."""
    low, high = band["low_percent"], band["high_percent"]
    share = f"{low:g} %" if low == high else f"{low:g} to {high:g} %"
    return f"{share} of {band['of']}{_MEASURED[band.get('measures', 'direct')]}"


def _drawn(described: Mapping[str, Any]) -> list[str]:
    """Return the sizes of groups for which the algebra has drawn in some condition."""
    return sorted({size for each in described["conditions"] for size in each.get("groups_drawn", ())}, key=int)


def whole(described: Mapping[str, Any], groups: Mapping[tuple[str, int], Count]) -> Plot:
    """Return how often all pairs of a group are direct, by its size: lines of the algebra, dots of simulated groups."""
    rows = []
    for condition in described["conditions"]:
        name, key = condition_name(condition["params"]), condition_key(condition["params"])
        for size, expected in (("2", condition["pairs"]), *condition["groups"].items()):
            count = groups.get((key, int(size)))
            low, high = count.interval(0.95) if count is not None else (None, None)
            rate = count.rate if count is not None else None
            rows.append((name, int(size), expected, rate, low, high))
    data = pd.DataFrame(rows, columns=["technique", "size", "algebra", "engine", "engine_low", "engine_high"])

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for number, (name, part) in enumerate(data.groupby("technique", sort=False)):
            look = _look(number)
            axes.plot(part["size"], 100 * part["algebra"], label=str(name), **look)
            seen = part.dropna(subset=["engine"]).astype({"engine": float, "engine_low": float, "engine_high": float})
            if len(seen):
                off = [seen["engine"] - seen["engine_low"], seen["engine_high"] - seen["engine"]]
                # Side by side, or the bars of techniques that do alike hide each other.
                at = seen["size"] + 0.12 * (number - 1.5)
                bars = [100 * each for each in off]
                filled = look | {"linestyle": "", "markerfacecolor": look["color"], "linewidth": 1}
                axes.errorbar(at, 100 * seen["engine"], bars, **filled)
        axes.set(xlabel="number of members of a group", ylabel="all pairs direct (%)", ylim=(0, 102))
        axes.set_xticks(sorted(set(data["size"])))
        axes.legend()

    caption = (
        "Lines and hollow marks: algebra, which takes pairs as independent, given the types of access. Filled marks: "
        "simulated groups, with 95 % intervals."
        + (
            " Groups of " + ", ".join(drawn) + " are drawn in the algebra too (standard error below 0.4 points)."
            if (drawn := _drawn(described))
            else ""
        )
    )
    return Plot("population-groups", "All pairs of a group direct", caption, data, 3.0, draw)
