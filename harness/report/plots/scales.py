"""Which scale an axis takes."""

from __future__ import annotations

import textwrap
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from harness.results.statistics import Floats

# Beyond this ratio of the largest to the smallest value, a linear axis presses most of them into one corner.
_WIDE = 20.0
# As many as stand below the axes of a plot that is one column wide, labels of rows beside it.
LETTERS = 36


def fit_x(axes: Axes, values: Floats, label: str) -> None:
    """Make the x axis logarithmic, and say so in its label, when the values span more than a factor of 20."""
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size and (values[np.isfinite(values)] >= 0).all() and positive.max() > _WIDE * positive.min():
        logarithmic(axes, *around(float(positive.min()), float(positive.max())))
        axes.set(xlabel=_with(label, "logarithmic"))
    else:
        axes.set(xlabel=label)


def fit_differences(axes: Axes, values: Floats, label: str, smallest: float = 1.0) -> None:
    """Fit an x axis for differences: linear, or, if wide, logarithmic beyond `smallest` to either side."""
    finite = values[np.isfinite(values)]
    low, high = float(finite.min(initial=0.0)), float(finite.max(initial=0.0))
    reach = max(-low, high)
    if reach <= _WIDE * smallest:
        margin = 0.05 * (high - low) or 1.0
        axes.set(xlabel=label, xlim=(low - margin * (low < 0), high + margin))
        return
    steps = [step * 10.0**power for power in range(-6, 10) for step in (1, 2, 5)]
    ticks = [step * smallest for step in steps if 1 <= step <= 1.3 * reach / smallest]
    below = -smallest / 2 if low >= 0 else 1.3 * min(low, -smallest)
    axes.set_xscale("symlog", linthresh=smallest, linscale=0.5)
    axes.set_xticks([*(-tick for tick in ticks if -tick >= below), 0.0, *ticks])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel=_with(label, f"logarithmic beyond {smallest:g}"), xlim=(below, 1.15 * max(high, smallest)))


def around(low: float, high: float) -> tuple[float, float]:
    """Return the numbers of 1, 2 and 5 times powers of ten that enclose two positive ones, as ends with ticks."""
    steps = np.array([step * 10.0**power for power in range(-12, 13) for step in (1, 2, 5)])
    return float(steps[steps <= low * (1 + 1e-9)].max()), float(steps[steps >= high * (1 - 1e-9)].min())


def up_to(high: float) -> float:
    """Return the first tick of a linear axis from 0 on that is not below a value."""
    ticks = np.asarray(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]).tick_values(0, high), dtype=np.float64)
    return float(ticks[ticks >= high * (1 - 1e-9)].min())


def _with(label: str, remark: str) -> str:
    """Return the label and a remark on the scale, on several lines where one would be wider than the figure."""
    return textwrap.fill(f"{label}, {remark}", LETTERS)


def logarithmic(axes: Axes, low: float, high: float) -> None:
    """Make the x axis logarithmic, with plain numbers at 1, 2 and 5, or at powers of ten when it is long."""
    steps: tuple[Literal[1, 2, 5], ...] = (1, 2, 5) if high / low < 300 else (1,)
    axes.set(xscale="log", xlim=(low, high))
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
