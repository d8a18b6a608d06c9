"""Hole-punch success over pairs of NATs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from harness.model.nat_order import nat_rank
from harness.report.order import subject_name
from harness.report.plots.figure import Plot
from harness.report.plots.style import INK, LINE, PAPER, UNDERLAY
from harness.results.clusters import estimate
from harness.results.pairs import SEVERAL, counted
from harness.results.statistics import as_floats

# Below this an interval is wider than 28 points even when all runs agree (10 of 10: [72 %, 100 %]).
FEW = 10


@dataclass(frozen=True)
class Cell:
    """One NAT pair: k of n pairs of members with their Wilson interval (clustered where trials have several), the paths
    seen, and the trials that did not count."""

    k: int
    n: int
    low: float
    high: float
    paths: tuple[str, ...]
    left_out: int

    @property
    def few(self) -> bool:
        """Too few runs to say much."""
        return self.n < FEW


@dataclass(frozen=True)
class Matrix:
    """A subject's matrix; `cells` holds the pairs that were tried, (nat_a, nat_b)."""

    overlay: str
    mode: str
    nats_a: tuple[str, ...]
    nats_b: tuple[str, ...]
    cells: dict[tuple[str, str], Cell]
    metric: str


def matrix_of(trials: pd.DataFrame, overlay: str, mode: str, metric: str = "hole_punch_success") -> Matrix | None:
    """Return the matrix of one subject's trials; None when the metric was never measured."""
    trials = trials[trials["nat_a"] != SEVERAL]
    if trials[metric].notna().sum() == 0:
        return None
    cells = {}
    for (nat_a, nat_b), group in trials.groupby(["nat_a", "nat_b"], sort=False):
        tried = group[group[metric].notna()]
        values = as_floats(tried[metric])
        found = estimate(metric, list(values), list(tried["trial"]))
        paths = tuple(sorted({path for path in counted(group)["path"] if path not in {"", SEVERAL}}))
        missing = group["trial"].nunique() - tried["trial"].nunique()
        cells[str(nat_a), str(nat_b)] = Cell(
            round(float(values.sum())), values.size, found.low, found.high, paths, missing
        )
    sides = [sorted({pair[side] for pair in cells}, key=nat_rank) for side in (0, 1)]
    return Matrix(overlay, mode, tuple(sides[0]), tuple(sides[1]), cells, metric)


def heatmap_plot(matrix: Matrix, suffix: str = "") -> Plot:
    """Return the matrix as a picture for papers."""
    name = subject_name(matrix.overlay, matrix.mode)
    rows = [
        (matrix.overlay, matrix.mode, *pair, cell.k, cell.n, cell.low, cell.high, " ".join(cell.paths), cell.left_out)
        for pair, cell in matrix.cells.items()
    ]
    columns = ["overlay", "mode", "nat_a", "nat_b", "k", "n", "ci_low", "ci_high", "paths", "left_out"]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for (nat_a, nat_b), cell in matrix.cells.items():
            x, y = matrix.nats_b.index(nat_b), matrix.nats_a.index(nat_a)
            share = cell.k / cell.n if cell.n else np.nan
            axes.add_patch(
                Rectangle(
                    (x - 0.5, y - 0.5),
                    1,
                    1,
                    facecolor=shade(share),
                    edgecolor=LINE,
                    hatch="////" if cell.few else None,
                    linewidth=0,
                )
            )
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor=PAPER, linewidth=2))
            box = {"facecolor": shade(share), "edgecolor": "none", "pad": 1.5}
            text = f"{cell.k}/{cell.n}" if cell.n else "-"
            axes.text(x, y - 0.12, text, ha="center", va="center", color="#101010", bbox=box)
            if cell.n:
                span = f"{100 * cell.low:.0f}-{100 * cell.high:.0f} %"
                axes.text(x, y + 0.24, span, ha="center", va="center", color="#101010", fontsize="x-small", bbox=box)
        axes.set_xticks(range(len(matrix.nats_b)), labels(matrix.nats_b), rotation=20, ha="right")
        axes.set_yticks(range(len(matrix.nats_a)), labels(matrix.nats_a))
        axes.set(xlim=(-0.5, len(matrix.nats_b) - 0.5), ylim=(len(matrix.nats_a) - 0.5, -0.5))
        axes.set(xlabel="NAT of b", ylabel="NAT of a")
        axes.grid(visible=False)
        axes.tick_params(length=0, colors=INK)
        figure.legend(handles=legend_of(matrix), loc="outside lower center", ncols=2, handlelength=1.4)

    caption = (
        "k of n tries, one for each pair of members in each trial, with the 95 % interval (Wilson). "
        f"Hatched: fewer than {FEW} tries."
    )
    slug = f"hole-punch-{matrix.overlay}-{matrix.mode}{suffix}"
    height = 1.3 + 0.62 * len(matrix.nats_a) + 0.2 * -(-len(legend_of(matrix)) // 2)
    return Plot(slug, f"Hole punching: {name}", caption, pd.DataFrame(rows, columns=columns), height, draw)


def legend_of(matrix: Matrix) -> list[Patch]:
    """Return what shades and hatches mean, as far as the matrix has them."""
    shares = [cell.k / cell.n for cell in matrix.cells.values() if cell.n]
    found = [
        Patch(facecolor=shade(share), edgecolor=LINE, label=text)
        for share, text in ((1.0, "always direct"), (0.5, "in half of the pairs"), (0.0, "never direct"))
        if share in shares or (share == 0.5 and any(0 < one < 1 for one in shares))
    ]
    if any(not cell.n for cell in matrix.cells.values()):
        found.append(Patch(facecolor=shade(np.nan), edgecolor=LINE, label="- : no trial counts"))
    if any(cell.few for cell in matrix.cells.values()):
        found.append(Patch(facecolor=PAPER, edgecolor=UNDERLAY, hatch="////", label=f"fewer than {FEW} runs"))
    return found


def labels(nats: Sequence[str]) -> list[str]:
    """Return NAT labels, "no NAT" where there is none."""
    return [nat or "no NAT" for nat in nats]


def shade(share: float) -> str:
    """Return a colour from vermilion (0) over white to blue (1), which colour-blind readers can tell apart."""
    if np.isnan(share):
        return "#e4e4e4"
    low, middle, high = (222, 143, 95), (247, 247, 247), (103, 169, 207)
    start, end, part = (low, middle, share * 2) if share < 0.5 else (middle, high, share * 2 - 1)
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(start, end, strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}"
