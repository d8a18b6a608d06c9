"""Which scale an axis takes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from harness.results.statistics import Floats

# Beyond this ratio of the largest to the smallest value, a linear axis presses most of them into one corner.
_WIDE = 20.0


def fit_x(axes: Axes, values: Floats, label: str) -> None:
    """A logarithmic x axis, and its label says so, when the values span more than a factor of 20."""
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size and (values[np.isfinite(values)] >= 0).all() and positive.max() > _WIDE * positive.min():
        logarithmic(axes, positive.min() / 1.3, positive.max() * 1.15)
        axes.set(xlabel=f"{label}, logarithmic")
    else:
        axes.set(xlabel=label)


def logarithmic(axes: Axes, low: float, high: float) -> None:
    """A logarithmic x axis from low to high with plain numbers at 1, 2 and 5, or at powers of ten when it is long."""
    steps: tuple[Literal[1, 2, 5], ...] = (1, 2, 5) if high / low < 300 else (1,)
    axes.set(xscale="log", xlim=(low, high))
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
