"""Latency distributions: a line per subject and path, an envelope over its runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.order import subject_key, subject_name
from harness.report.plots.figure import Plot
from harness.report.plots.scales import fit_x
from harness.report.plots.style import DASHES, Look, height_with_legend, legend_below, mark
from harness.results.pairs import counted
from harness.results.statistics import as_floats

# From so many runs on a tenth of them can be left out to either side.
MANY = 10
# Even steps for the middle, finer ones for the tail that the CCDF shows.
PROBABILITIES = np.unique(np.concatenate([np.linspace(0, 0.95, 96), 1 - np.logspace(-1.3, -4, 55), [1.0]]))


def latency_plots(
    samples: pd.DataFrame,
    trials: pd.DataFrame,
    look_of: Mapping[tuple[str, str], Look],
    suffix: str = "",
    *,
    name: str = "latency",
    title: str = "Latency",
) -> list[Plot]:
    """Return CDF and CCDF of the round-trip times (as `Results.rtt_samples`) of these trials; none without samples."""
    data = distributions(samples, trials)
    if data.empty:
        return []
    note = (
        f"Each line is the median over runs of the quantiles of single runs; the band is their range (with {MANY} "
        "runs or more, without the outermost tenth on either side). Dashed: not direct. Lost packets count as never "
        "answered, so that a line with losses ends below 1."
    )

    def cdf(figure: Figure) -> None:
        axes = figure.subplots()
        _lines(axes, data, look_of, tail=False)
        axes.set(ylabel="share of packets", ylim=(0, 1.01))
        body = as_floats(data.loc[data["probability"] <= 0.99, "rtt_ms"])
        body = body[np.isfinite(body)]
        fit_x(axes, body, "round-trip time (ms)")
        # The slowest run's slowest packets would press all lines to the left; they have the other plot.
        if body.size and axes.get_xscale() == "linear":
            margin = max(0.1 * float(np.ptp(body)), 0.02 * float(body.max()))
            axes.set_xlim(float(body.min()) - margin, float(body.max()) + margin)
        legend_below(figure, axes)

    def ccdf(figure: Figure) -> None:
        axes = figure.subplots()
        _lines(axes, data, look_of, tail=True)
        least = max(1 / max((data["packets"] / data["runs"]).max(), 10), 1e-4)
        axes.set(ylabel="share of slower packets", yscale="log", ylim=(least, 1))
        fit_x(axes, as_floats(data["rtt_ms"]), "round-trip time (ms)")
        legend_below(figure, axes)

    height = height_with_legend(data.groupby(["overlay", "mode", "path"], sort=False).ngroups)
    rows = data[["overlay", "mode", "path", "runs", "packets", "probability", "rtt_low_ms", "rtt_ms", "rtt_high_ms"]]
    return [
        Plot(f"{name}-cdf{suffix}", f"{title}: distribution", note, rows, height, cdf),
        Plot(f"{name}-ccdf{suffix}", f"{title}: tail (complementary distribution)", note, rows, height, ccdf),
    ]


def distributions(samples: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return quantiles per subject and path: median (`rtt_ms`) over the pairs of members that count, and their band.

    A lost packet is one that never came back: inf (RFC 2681), as it is in the tables' percentiles.
    """
    groups: dict[tuple[str, str, str], list[np.ndarray]] = {}
    packets: dict[tuple[str, str, str], int] = {}
    known: dict[tuple[str, frozenset[str]], tuple[str, str, str]] = {}
    columns = counted(rows)[["trial", "src", "dst", "overlay", "mode", "path"]].astype(str)
    for name, one, other, *subject in columns.itertuples(index=False, name=None):
        known.setdefault((name, frozenset((one, other))), tuple(subject))
    for (trial, src, dst), group in samples.groupby(["trial", "src", "dst"], sort=False, observed=True):
        key = known.get((str(trial), frozenset((str(src), str(dst)))))
        if key is None:
            continue
        values = as_floats(group["rtt_ms"].to_numpy())
        ordered = np.sort(np.where(np.isnan(values), np.inf, values))
        ranks = np.minimum((PROBABILITIES * ordered.size).astype(int), ordered.size - 1)
        groups.setdefault(key, []).append(ordered[ranks])
        packets[key] = packets.get(key, 0) + ordered.size
    parts = []
    for key in sorted(groups, key=lambda key: (subject_key(key[:2]), key[2])):
        runs = np.sort(np.stack(groups[key]), axis=0)
        # A range grows with the number of runs, until it shows nothing but the worst one.
        outer = len(runs) // 10 if len(runs) >= MANY else 0
        parts.append(
            pd.DataFrame(
                {
                    "overlay": key[0],
                    "mode": key[1],
                    "path": key[2],
                    "runs": len(runs),
                    "packets": packets[key],
                    "probability": PROBABILITIES,
                    "rtt_low_ms": runs[outer],
                    "rtt_ms": runs[(len(runs) - 1) // 2],
                    "rtt_high_ms": runs[-1 - outer],
                }
            )
        )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _lines(axes: Axes, data: pd.DataFrame, look_of: Mapping[tuple[str, str], Look], *, tail: bool) -> None:
    for key, rows in data.groupby(["overlay", "mode", "path"], sort=False):
        overlay, mode, path = map(str, key)
        look = look_of[overlay, mode]
        y = as_floats(1 - rows["probability"] if tail else rows["probability"])
        middle, low, high = (as_floats(rows[name]) for name in ("rtt_ms", "rtt_low_ms", "rtt_high_ms"))
        seen = np.isfinite(middle) & (y > 0 if tail else y >= 0)
        name = subject_name(overlay, mode)
        label = name if overlay == "underlay" or not path else f"{name}, {path}"
        (line,) = axes.plot(middle[seen], y[seen], DASHES.get(path, "-"), color=look.colour, label=label)
        mark(line, look)
        band = seen & np.isfinite(high)
        axes.fill_betweenx(y[band], low[band], high[band], color=look.colour, alpha=0.18, linewidth=0)
