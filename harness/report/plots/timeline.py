"""What happened, and the traffic under it: a panel per subject, round-trip times over the seconds of the timeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from harness.report.order import subject_name
from harness.report.plots.figure import Plot
from harness.report.plots.style import INK, LINE, Look
from harness.report.tables import groups
from harness.results import declared
from harness.results.pairs import counted
from harness.results.phases import moments
from harness.results.statistics import as_floats

# As many as dots can be told apart on a page's width.
_BINS: Final = 120
_END: Final = "after the end of "
_START: Final = "after "
# A letter's share of the figure's width, and the most rows of labels above the first panel.
_LETTER: Final = 0.017
_ROW_IN: Final = 0.17


def timeline_plot(  # noqa: PLR0917
    traffic: pd.DataFrame,
    phases: pd.DataFrame,
    trials: pd.DataFrame,
    wanted: declared.Plot,
    look_of: Mapping[tuple[str, str], Look],
    suffix: str = "",
) -> list[Plot]:
    """Draw the traffic of the trials that count (`traffic_of`), with their events (`phases_frame`); none without."""
    data = binned(traffic, trials)
    if data.empty:
        return []
    events = spans(phases[phases["trial"].isin(counted(trials)["trial"])])
    subjects = list(groups(data))
    begin, end = float(data["from_s"].min()), float(data["to_s"].max())
    rows = _label_rows(events, begin, end)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(len(subjects), 1, sharex=True, sharey=True, squeeze=False)
        panels: list[Axes] = list(grid[:, 0])
        for axes, (subject, part) in zip(panels, subjects, strict=True):
            for _, since, until in events:
                if until is not None:
                    axes.axvspan(since, until, color=LINE, alpha=0.5, linewidth=0)
                axes.axvline(since, color=INK, linewidth=0.7, linestyle=":")
            _panel(axes, part, look_of[subject])
            axes.set_title(subject_name(*subject), loc="left", fontsize="small", pad=2)
        top = panels[0]
        for (name, since, _), row in zip(events, rows, strict=True):
            right = since > begin + 0.6 * (end - begin)
            place = (3 if not right else -3, 14 + 11 * row)
            top.annotate(
                name, (since, 1), place, xycoords=top.get_xaxis_transform(), textcoords="offset points",
                ha="right" if right else "left", va="bottom", fontsize="small", annotation_clip=False,
            )  # fmt: skip
        answered = as_floats(data.loc[data["flow"] != "tcp", "rtt_ms"].dropna())
        low, high = (float(answered.min()), float(answered.max())) if answered.size else (1.0, 10.0)
        panels[0].set(yscale="log", ylim=(low / 2.5, high * 2.5))
        steps: tuple[Literal[1, 2, 5], ...] = (1, 2, 5) if high / low < 3 else (1,)
        panels[0].yaxis.set_major_locator(LogLocator(subs=steps, numticks=5))
        panels[0].yaxis.set_major_formatter("{x:g}")
        panels[0].yaxis.set_minor_locator(NullLocator())
        panels[-1].set(xlabel="time since the traffic began (s)", xlim=(begin, end))
        # Of one or two panels, the label is taller than they are.
        figure.supylabel(f"round-trip time{chr(10) if len(subjects) < 3 else ' '}(ms, log scale)", fontsize="medium")

    height = 0.95 + _ROW_IN * (1 + max(rows, default=0)) + 0.85 * len(subjects)
    caption = (
        "Medians over short intervals, with their range. Filled dots: direct; hollow: another path. Coloured line at "
        "the top: the TCP connection is answered. Line in the text's colour at the bottom: no ping is answered. "
        "Shaded: an event lasts."
    )
    slug = f"{wanted.name}{suffix}"
    return [Plot(slug, wanted.title, caption, data, height, draw)]


def binned(traffic: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """Return the traffic in spans of equal length: overlay, mode, flow, way, from_s, to_s, asked, answered, RTTs."""
    columns = ["overlay", "mode", "flow", "way", "from_s", "to_s", "asked", "answered", "rtt_low_ms", "rtt_ms"]
    columns.append("rtt_high_ms")
    known = counted(trials).drop_duplicates("trial").set_index("trial")[["overlay", "mode"]].astype(str)
    part = traffic[traffic["trial"].isin(known.index) & (traffic["sent_s"] >= 0)]
    if part.empty:
        return pd.DataFrame(columns=columns)
    part = part.join(known, on="trial")
    width = max(float(part["sent_s"].max()), 1e-3) / _BINS
    part = part.assign(place=np.minimum((part["sent_s"] / width).astype(int), _BINS - 1))
    part["way"] = np.where(part["flow"] == "tcp", "", part["way"])
    keys = ["overlay", "mode", "flow", "way", "place"]
    rtts = part.groupby(keys, sort=True)["rtt_ms"]
    found = pd.DataFrame(
        {
            "asked": rtts.size(),
            "answered": rtts.count(),
            "rtt_low_ms": rtts.min(),
            "rtt_ms": rtts.median(),
            "rtt_high_ms": rtts.max(),
        }
    ).reset_index()
    found["from_s"] = found["place"] * width
    found["to_s"] = found["from_s"] + width
    return found[columns]


def spans(phases: pd.DataFrame) -> list[tuple[str, float, float | None]]:
    """Return the events in their order: name, when it took effect, when it was over (None: it was not undone)."""
    found: list[tuple[str, float, float | None]] = []
    for phase, at in moments(phases):
        if phase.startswith(_END):
            name = phase.removeprefix(_END)
            for place in reversed(range(len(found))):
                if found[place][0] == name and found[place][2] is None:
                    found[place] = (name, found[place][1], at)
                    break
        else:
            found.append((phase.removeprefix(_START), at, None))
    return found


def _label_rows(events: Sequence[tuple[str, float, float | None]], begin: float, end: float) -> list[int]:
    """Choose the row of each event's label above the first panel, so that none lies on another."""
    taken: list[list[tuple[float, float]]] = []
    rows = []
    for name, since, _ in events:
        wide, place = _LETTER * (len(name) + 1), (since - begin) / ((end - begin) or 1.0)
        own = (place - wide, place) if place > 0.6 else (place, place + wide)
        row = next(
            (n for n, others in enumerate(taken) if all(own[1] <= a or own[0] >= b for a, b in others)), len(taken)
        )
        if row == len(taken):
            taken.append([])
        taken[row].append(own)
        rows.append(row)
    return rows


def _panel(axes: Axes, part: pd.DataFrame, look: Look) -> None:
    traffic = part[part["flow"] != "tcp"]
    for way, group in traffic.groupby("way", sort=False):
        seen = group[group["answered"] > 0]
        x = as_floats((seen["from_s"] + seen["to_s"]) / 2)
        low, middle, high = (as_floats(seen[name]) for name in ("rtt_low_ms", "rtt_ms", "rtt_high_ms"))
        # One path of many strokes instead of a shape each: a page has thousands.
        gap = np.full(x.size, np.nan)
        axes.plot(np.stack([x, x, gap]).T.ravel(), np.stack([low, high, gap]).T.ravel(), color=look.colour, alpha=0.5)
        face = look.colour if way in {"direct", ""} else "none"
        axes.plot(x, middle, "o", color=look.colour, markerfacecolor=face, markersize=3, markeredgewidth=0.7)
    by_span = traffic.groupby(["from_s", "to_s"], sort=True)[["asked", "answered"]].sum().reset_index()
    _strip(axes, by_span[by_span["answered"] == 0], 0.04, INK)
    tcp = part[(part["flow"] == "tcp") & (part["answered"] > 0)]
    _strip(axes, tcp, 0.95, look.colour)


def _strip(axes: Axes, parts: pd.DataFrame, y: float, colour: str) -> None:
    since, until = as_floats(parts["from_s"]), as_floats(parts["to_s"])
    x = np.stack([since, until, np.full(since.size, np.nan)]).T.ravel()
    axes.plot(
        x, np.full(x.size, y), color=colour, linewidth=2.2, solid_capstyle="butt", transform=axes.get_xaxis_transform()
    )
