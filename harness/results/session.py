"""Whether the machine itself was another one in the two runs: what else ran on it, how warm it was.

Two runs are two sessions, and a session has a shift of its own that no pairing removes and no repetition averages out.
It shows in what no overlay has a part in: how long a lab takes to build, and the underlay of the same cells. Changes of
machine-bound metrics that stay within twice that shift are not called.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.results.pairing import match

# Building a lab is the machine's work alone.
_ALWAYS = ("lab_start_s",)
# These depend on links, too: they are controls only when both runs declare the same ones.
_SAME_LINKS = ("underlay_tcp_throughput_mbit", "underlay_rtt_p50_ms", "fixed_overhead_s")
# Controls are measured in the same trials as the subjects, yet not in the same second.
_SAFETY = 2.0

MACHINE_SENSITIVE = frozenset(
    {
        *("time_to_ready_s", "time_to_connect_s", "time_to_direct_s", "rtt_p50_ms", "rtt_p99_ms", "added_rtt_p50_ms"),
        *("rtt_rise_p50_ms", "tcp_throughput_mbit", "tcp_throughput_ratio", "udp_goodput_mbit", "cpu_s_per_gb"),
    }
)


@dataclass(frozen=True)
class Shift:
    """How the controls moved: new over base, median over pairs, for each control that was measured."""

    ratios: Mapping[str, float]

    @property
    def factor(self) -> float:
        """Changes up to this factor are the machine's own."""
        return math.exp(_SAFETY * max((abs(math.log(ratio)) for ratio in self.ratios.values()), default=0.0))

    def explains(self, metric: str, base: float, change: float) -> bool:
        """Whether a change of this metric may be the machine's."""
        if metric not in MACHINE_SENSITIVE or not (math.isfinite(base) and math.isfinite(change)):
            return False
        up, down = abs(base) * (self.factor - 1), abs(base) * (1 - 1 / self.factor)
        return abs(change) <= (up if change > 0 else down)


def shift_between(base: pd.DataFrame, new: pd.DataFrame, *, links_changed: bool) -> Shift:
    """The shift between two runs' records."""
    controls = _ALWAYS if links_changed else (*_ALWAYS, *_SAME_LINKS)
    values: dict[str, list[float]] = {}
    for pair in match(base, new, frozenset(controls)).pairs:
        positive = (pair.base > 0) & (pair.new > 0)
        values.setdefault(pair.metric, []).extend(np.log(pair.new[positive] / pair.base[positive]))
    return Shift({metric: math.exp(float(np.median(logs))) for metric, logs in sorted(values.items()) if logs})
