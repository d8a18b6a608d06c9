"""Whether the machine itself differed between the two runs: what else ran on it, how warm it was.

Two runs are two sessions, and a session has a shift of its own that no repetition averages out. It shows in what no
overlay has a part in. Each kind of figure is judged by the control of its own kind: a delay by the underlay's delay, a
rate by the underlay's rate, and what takes processor time by how long a lab takes to build. A change that stays within
twice the shift of its own control is not called; a lab that was slow to build explains no delay of packets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.results.matching import match
from harness.results.statistics import middle

# Controls are measured in the same trials as the subjects, yet not in the same second.
_SAFETY = 2.0

_PROCESSOR = ("lab_start_s", "fixed_overhead_s")
_DELAY = ("underlay_rtt_p50_ms",)
_RATE = ("underlay_tcp_throughput_mbit",)
# A computation's control is the same computation over the underlay of the same lab.
_COMPUTATIONS = {
    **{f"{name}_completion_s": (f"{name}_underlay_completion_s",) for name in ("chatty", "mixed", "bulk")},
    **{f"mpyc_{name}_s": (f"mpyc_{name}_underlay_s",) for name in ("derangement", "dense", "cnn")},
}
_CONTROLS: Mapping[str, tuple[str, ...]] = {
    **_COMPUTATIONS,
    **dict.fromkeys(("time_to_ready_s", "time_to_connect_s", "time_to_direct_s", "cpu_s_per_gb"), _PROCESSOR),
    **dict.fromkeys(("rtt_p50_ms", "rtt_p99_ms", "added_rtt_p50_ms", "rtt_rise_p50_ms"), _DELAY),
    **dict.fromkeys(
        ("tcp_throughput_mbit", "tcp_throughput_ratio", "udp_goodput_mbit", "concurrent_tcp_total_mbit"), _RATE
    ),
}
# These depend on links, too: they are controls only when both runs declare the same ones.
_OF_LINKS = frozenset({*_DELAY, *_RATE, "fixed_overhead_s", *(name for (name,) in _COMPUTATIONS.values())})


@dataclass(frozen=True)
class Shift:
    """How the controls moved: new over base, middle over cells, for each control that was measured."""

    ratios: Mapping[str, float]

    def factor(self, metric: str) -> float:
        """Return up to which factor a change of this metric may be the machine's; 1 where no control tells."""
        return self._largest(_CONTROLS.get(metric, ()))

    @property
    def largest(self) -> float:
        """The largest of all factors, for a remark."""
        return self._largest(tuple(self.ratios))

    def explains(self, metric: str, base: float, change: float) -> bool:
        """Tell whether a change of this metric may be the machine's."""
        if not (math.isfinite(base) and math.isfinite(change)):
            return False
        factor = self.factor(metric)
        up, down = abs(base) * (factor - 1), abs(base) * (1 - 1 / factor)
        return 0 < abs(change) <= (up if change > 0 else down)

    def _largest(self, controls: tuple[str, ...]) -> float:
        found = [abs(math.log(self.ratios[name])) for name in controls if name in self.ratios]
        return math.exp(_SAFETY * max(found, default=0.0))


def shift_between(base: pd.DataFrame, new: pd.DataFrame, *, links_changed: bool) -> Shift:
    """Return the shift between two runs' records."""
    controls = {name for names in _CONTROLS.values() for name in names}
    logs: dict[str, list[float]] = {}
    for sample in match(base, new, controls - _OF_LINKS if links_changed else controls).samples:
        for cell in sample.cells:
            sides = [middle(cell.side(new=new)) for new in (False, True)]
            if all(0 < side < math.inf for side in sides):
                logs.setdefault(sample.metric, []).append(math.log(sides[1] / sides[0]))
    return Shift({metric: math.exp(float(np.median(found))) for metric, found in sorted(logs.items())})
