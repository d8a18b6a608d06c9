"""Jitter distributions as tables of 4096 quantiles, the same for every backend (pure).

Values are scaled by 2^20 and standardised: mean 0; half-width 1 for `uniform`, standard deviation 1 for the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from statistics import NormalDist
from typing import Final, Literal

QUANTILE_COUNT: Final = 4096
QUANTILE_SHIFT: Final = 20
# Where the tails end, in standard deviations; netem's own tables end there too (16 bits with 13 behind the point).
CUT: Final = 4.0
PARETO_SHAPE: Final = 3.0
# netem's distribution files hold 16-bit numbers with this scale.
NETEM_SCALE: Final = 8192

Shape = Literal["uniform", "normal", "pareto"]


@cache
def quantiles(shape: Shape) -> tuple[int, ...]:
    """Return the distribution's quantiles at (i + 0.5) / 4096, scaled by 2^20."""
    inverse: dict[str, Callable[[float], float]] = {
        "uniform": lambda u: 2 * u - 1,
        "normal": NormalDist().inv_cdf,
        "pareto": lambda u: float((1 - u) ** (-1 / PARETO_SHAPE)),
    }
    values = [inverse[shape]((i + 0.5) / QUANTILE_COUNT) for i in range(QUANTILE_COUNT)]
    if shape != "uniform":
        # Cutting a tail moves mean and deviation, and moving them moves the cut: settle both.
        for _ in range(50):
            values = [min(max(value, -CUT), CUT) for value in _standardised(values)]
        values = _standardised(values)
    return tuple(round(value * 2**QUANTILE_SHIFT) for value in values)


def _standardised(values: list[float]) -> list[float]:
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    return [(value - mean) / deviation for value in values]


def netem_table(shape: Shape) -> str:
    """Return the table as text for `tc qdisc ... netem delay ... distribution` (see `TC_LIB_DIR` in tc-netem(8))."""
    scaled = (round(value * NETEM_SCALE / 2**QUANTILE_SHIFT) for value in quantiles(shape))
    numbers = [min(max(value, -32768), 32767) for value in scaled]
    return "\n".join(" ".join(map(str, numbers[i : i + 8])) for i in range(0, len(numbers), 8)) + "\n"
