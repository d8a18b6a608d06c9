"""A finished plot: its picture for the page, its files for papers."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from harness.report.plots.style import COLOURS, INK, LINE, PAPER, UNDERLAY, Style, applied

_COORDINATES = re.compile(r'\b(?:d|x|y)="[^"]*"')
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_ID = re.compile(r'(\bid="|url\(#|href="#)')


@dataclass(frozen=True)
class Plot:
    """One plot. `data` is what is drawn, `caption` says what to see and how it was made."""

    name: str
    title: str
    caption: str
    data: pd.DataFrame
    height_in: float
    draw: Callable[[Figure], None]
    width_factor: float = 1.0


@dataclass(frozen=True)
class Drawn:
    """A plot as saved; `svg` is for setting into the page."""

    name: str
    title: str
    caption: str
    svg: str
    rows: int


def save(plot: Plot, folder: Path, style: Style) -> Drawn:
    """Write NAME.svg, NAME.png, NAME.pdf and NAME.csv into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with applied(style):
        figure = figure_of(plot, style)
        buffer = io.StringIO()
        # Not `savefig`: it draws everything once more before each file, for a layout that each draw finds by itself.
        figure.dpi = FigureCanvasSVG.fixed_dpi
        about = {"Date": None, "Title": plot.title}
        FigureCanvasSVG(figure).print_svg(buffer, metadata=about)  # type: ignore[no-untyped-call]
        # The layout stands; the second file need not find it again.
        figure.set_layout_engine("none")
        figure.dpi = style.dpi
        png = folder / f"{plot.name}.png"
        FigureCanvasAgg(figure).print_png(png, metadata={"Software": "overlaybench"})  # type: ignore[no-untyped-call]
        figure.dpi = FigureCanvasPdf.fixed_dpi
        undated = {"CreationDate": None, "Title": plot.title}
        FigureCanvasPdf(figure).print_pdf(folder / f"{plot.name}.pdf", metadata=undated)  # type: ignore[no-untyped-call]
    svg = rounded(buffer.getvalue())
    (folder / f"{plot.name}.svg").write_text(svg, encoding="utf-8")
    plot.data.to_csv(folder / f"{plot.name}.csv", index=False, float_format="%.6g")
    return Drawn(plot.name, plot.title, plot.caption, for_page(svg, plot), len(plot.data))


def rounded(svg: str) -> str:
    """Return the SVG with coordinates to a hundredth of a point, a quarter smaller; its texts stay as they are."""
    return _COORDINATES.sub(lambda part: _NUMBER.sub(lambda number: f"{float(number[0]):.2f}", part[0]), svg)


def figure_of(plot: Plot, style: Style) -> Figure:
    """Return the plot as a figure, to be called and rendered while the style is applied."""
    size = (style.width_in * plot.width_factor, plot.height_in * style.width_in / 5.0)
    figure = Figure(figsize=size, layout="constrained")
    plot.draw(figure)
    return figure


def for_page(svg: str, plot: Plot) -> str:
    """Return the SVG without its prologue, as wide as its place, in the page's colours, with ids of its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<title>.*?</title>", "", svg, count=1, flags=re.DOTALL)
    width = re.search(r'<svg[^>]*?\bviewBox="0 0 ([\d.]+)', svg)
    assert width is not None
    label = f'role="img" aria-labelledby="{plot.name}-title" style="max-width:{float(width[1]) * 4 / 3:.0f}px"'
    svg = re.sub(r'<svg([^>]*?) width="[^"]*"', r"<svg\1", svg, count=1)
    svg = re.sub(r'<svg([^>]*?) height="[^"]*"', r"<svg\1", svg, count=1)
    svg = svg.replace("<svg", f"<svg {label}", 1)
    svg = _ID.sub(lambda match: f"{match[1]}{plot.name}-", svg).replace(
        f'aria-labelledby="{plot.name}-{plot.name}', f'aria-labelledby="{plot.name}'
    )
    for colour, variable in ((INK, "ink"), (LINE, "line"), (PAPER, "paper")):
        svg = svg.replace(colour, f"var(--{variable})")
    for number, colour in enumerate((*COLOURS, UNDERLAY)):
        svg = svg.replace(colour, f"var(--series-{number})")
    return re.sub(r"\n\s*", "\n", svg)
