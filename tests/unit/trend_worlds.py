"""Made-up histories as arrays (those of `bench.trend_power`), and what is called in them."""

from __future__ import annotations

import numpy as np

from bench.trend_power import CHANGED, World, made_up, step
from harness.results.changes import Rule
from harness.results.trend import Finding, judge

__all__ = ["CHANGED", "World", "called", "made_up", "step"]


def called(world: World, seed: int = 1) -> list[Finding]:
    """Return the regressions and improvements of single subjects, in the order of their places."""
    axis, series = made_up(world, np.random.default_rng(seed))
    found = [one for one in judge(series, axis, Rule())[0] if one.change.verdict in {"regression", "improvement"}]
    return sorted((one for one in found if one.series is not None), key=lambda one: axis.points.index(one.at))
