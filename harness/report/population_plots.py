"""The figures of a population: success against the share of endpoint-independent mapping, and of whole groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from harness.report.plots.figure import Plot
from harness.report.plots.style import COLOURS, MARKERS
from harness.results.agreement import CellAgreement, Count, condition_key, of_condition, weighted


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
    bands = [band for band in described["bands"] if band["of"] in ("pairs", "attempts", "traffic")]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for number, band in enumerate(bands):
            low, high = band["low_percent"], band["high_percent"]
            if high - low < 0.5:
                axes.axhline(low, color="#808080", linestyle=":", linewidth=1)
            else:
                axes.axhspan(low, high, color="#808080", alpha=0.18, linewidth=0)
            axes.annotate(band["name"], (0.01 + 0.5 * (number % 2), (low + high) / 2), fontsize=7, va="center")
        for number, (name, part) in enumerate(data.groupby("technique", sort=False)):
            look = _look(number)
            axes.plot(part["eim_share"], 100 * part["algebra"], label=str(name), **look)
            engine = 100 * part["engine"].astype(float)
            axes.plot(part["eim_share"], engine, **look | {"linestyle": "", "markerfacecolor": look["color"]})
        axes.set(xlabel="share of peers with endpoint-independent mapping", ylabel="pairs direct (%)", ylim=(0, 102))
        axes.legend()

    caption = (
        "A type counts as endpoint-independent if all its routers' mappings are, one that lets no UDP out too, of "
        "which no pair is direct: so a curve need not come to 100 % at the right. Lines and hollow marks: algebra. "
        "Full marks: the engine's cells, reweighted for each share. Grey: field "
        "figures, each under its own conditions (see the table); where a curve crosses one is no estimate: many mixes "
        "give one rate."
    )
    return Plot(
        "population-curves", "Success against the share of endpoint-independent mapping", caption, data, 3.4, draw
    )


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
        axes.set(xlabel="members of a group", ylabel="all pairs direct (%)", ylim=(0, 102))
        axes.set_xticks(sorted(set(data["size"])))
        axes.legend()

    caption = (
        "Lines and hollow marks: algebra, pairs independent given the types. Full marks: simulated groups, with 95 % "
        "intervals."
    )
    return Plot("population-groups", "All pairs of a group direct", caption, data, 3.0, draw)
