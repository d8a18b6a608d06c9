"""How plots look: colours that colour-blind readers can tell apart, one per overlay; dashes tell the path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

# Okabe and Ito's palette without its yellow, which vanishes on white; grey is kept for the underlay.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b")
UNDERLAY = "#808080"
# No two alike in black and white; as many as no other plot of ours has subjects.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "*", ">", "p", "d", "h")
DASHES: dict[str, str | tuple[int, tuple[int, ...]]] = {
    "direct": "-",
    "relayed": "--",
    "asymmetric": (0, (5, 1, 1, 1, 1, 1)),
    "mixed": "-.",
    "none": ":",
    "": "-",
}

_OF_MODE = {"hub": "--", "relay": "-."}

# Stand-ins for the page's own colours: in the page they follow its light or dark theme.
INK, LINE, PAPER = "#101418", "#d0d4d8", "#ffffff"


@dataclass(frozen=True)
class Style:
    """`width_in` is the width of a figure in inches; text is at its final size in points."""

    name: str
    width_in: float
    font_pt: float
    dpi: int


SCREEN = Style("screen", 5.0, 10, 160)
# One column of a two-column paper (IEEE: 3.5 in, ACM: 3.33 in), text as small as their captions.
PAPER_STYLE = Style("paper", 3.33, 8, 300)
STYLES = {style.name: style for style in (SCREEN, PAPER_STYLE)}


@contextmanager
def applied(style: Style) -> Iterator[None]:
    """Set Matplotlib up for the style while the block runs."""
    settings: dict[Any, Any] = {
        "font.size": style.font_pt,
        "font.family": "serif" if style is PAPER_STYLE else "sans-serif",
        "axes.titlesize": style.font_pt,
        "legend.fontsize": style.font_pt - 1,
        "legend.frameon": False,
        "xtick.labelsize": style.font_pt - 1,
        "ytick.labelsize": style.font_pt - 1,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": LINE,
        "grid.linewidth": 0.06 * style.font_pt,
        **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
        "figure.facecolor": PAPER,
        "axes.facecolor": "none",
        "lines.linewidth": 0.14 * style.font_pt,
        "axes.linewidth": 0.08 * style.font_pt,
        "hatch.linewidth": 0.5,
        # Text stays text: it can be searched, selected, and takes the reader's own font.
        "svg.fonttype": "none",
        # Embedded as TrueType: papers' submission checks refuse Type 3 fonts.
        "pdf.fonttype": 42,
        # The same data gives the same file.
        "svg.hashsalt": "overlaybench",
    }
    with mpl.rc_context(settings):
        yield


@dataclass(frozen=True)
class Look:
    """A subject's colour, marker and dashes: any two subjects differ in print and to colour-blind readers as well."""

    colour: str
    marker: str
    dashes: str = "-"

    @property
    def dot(self) -> str:
        """The marker of single points; a stroke would be none."""
        return "o" if self.marker == "|" else self.marker


def mark(line: Line2D, look: Look) -> None:
    """Set the look's markers along a line, at even distances on paper."""
    line.set(marker=look.marker, markevery=0.12, markersize=4)


def legend_below(figure: Figure, axes: Axes) -> None:
    """Draw the legend in two columns below the plot; `height_with_legend` leaves room for it."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, handlelength=2.4)


def height_with_legend(entries: int) -> float:
    """Return inches (on the screen's width) for a plot whose legend has so many entries."""
    return 2.8 + 0.2 * -(-entries // 2)


def looks(subjects: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Look]:
    """Return a look for every (overlay, mode), in the order given; the underlay is grey.

    There are more markers than colours, so that who prints without them tells as many apart. Hubs are dashed, relays
    dash-dotted.
    """
    found: dict[tuple[str, str], Look] = {}
    number = 0
    for subject in subjects:
        if subject[0] == "underlay":
            found[subject] = Look(UNDERLAY, "|", ":")
        else:
            marker = MARKERS[number % len(MARKERS)]
            found[subject] = Look(COLOURS[number % len(COLOURS)], marker, _OF_MODE.get(subject[1], "-"))
            number += 1
    return found
