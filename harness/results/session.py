"""Whether the machine itself differed between the two runs: what else ran on it, how warm it was.

Two runs are two sessions, and a session has a shift of its own that no repetition averages out. It shows in what no
overlay has a part in. Each kind of figure is judged by the control of its own kind: a delay by the underlay's delay, a
rate by the underlay's rate, loss by the underlay's own, and what takes processor time by how long a lab takes to build.
A change that stays within twice the shift of its own control, and goes the way in which that moved, is not called; a
lab that was slow to build explains no delay of packets, and a quicker underlay no slower overlay. Trials that are far
off are held against those in which the control is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from harness.results.changes import Change, outlier_shares
from harness.results.matching import Sample, match
from harness.results.ranks import Cell
from harness.results.statistics import as_floats

# Controls are measured in the same trials as the subjects, yet not in the same second.
_SAFETY = 2.0
_UNDERLAY = "underlay"


@dataclass(frozen=True)
class _Control:
    """A figure that tells of the machine; `inverse`: it falls where the figure rises that it is the control of."""

    metric: str
    inverse: bool = False


def _controls(*metrics: str) -> tuple[_Control, ...]:
    return tuple(map(_Control, metrics))


_PROCESSOR = _controls("lab_start_s", "fixed_overhead_s")
_DELAY = _controls("underlay_rtt_p50_ms")
_RATE = _controls("underlay_tcp_throughput_mbit")
_CONTENT = "underlay_content_goodput_mbit"
# A computation's control is the same computation over the underlay of the same lab.
_COMPUTATIONS = {
    **{f"{name}_completion_s": f"{name}_underlay_completion_s" for name in ("chatty", "mixed", "bulk")},
    **{f"mpyc_{name}_s": f"mpyc_{name}_underlay_s" for name in ("derangement", "dense", "cnn")},
}
# What the probes measure over the underlay of the same lab; by which factor it moved.
_CONTROLS: Mapping[str, tuple[_Control, ...]] = {
    **{metric: _controls(control) for metric, control in _COMPUTATIONS.items()},
    **dict.fromkeys(("time_to_ready_s", "time_to_connect_s", "time_to_direct_s", "cpu_s_per_gb"), _PROCESSOR),
    **dict.fromkeys(("rtt_p50_ms", "rtt_p99_ms", "added_rtt_p50_ms", "rtt_rise_p50_ms"), _DELAY),
    **dict.fromkeys(("tcp_throughput_mbit", "udp_goodput_mbit", "concurrent_tcp_total_mbit"), _RATE),
    # Of a quotient the control is the denominator: it falls where that rises and the overlay does not.
    "tcp_throughput_ratio": (*_RATE, *(replace(one, inverse=True) for one in _RATE)),
    "stream_rtt_p50_ms": _controls("underlay_stream_rtt_p50_ms"),
    "stream_connect_p50_ms": _controls("underlay_stream_connect_p50_ms"),
    "content_goodput_mbit": _controls(_CONTENT),
    "content_last_byte_s": (_Control(_CONTENT, inverse=True),),
    "concurrent_jain_index": _controls("underlay_concurrent_jain_index"),
}
# Judged by how far a control moved in their own unit: what may be 0 has no factor, and a difference to the underlay's
# is larger by as much as that is smaller.
_BY_STEPS: Mapping[str, tuple[_Control, ...]] = {
    "added_rtt_p50_ms": (_Control("underlay_rtt_p50_ms", inverse=True),),
    **{name: _controls(name) for name in ("loss_ratio", "continuity_answered_ratio", "continuity_longest_gap_s")},
}
# Of these the control is the underlay's own, from its trials as a subject.
_OWN = frozenset(name for name, controls in _BY_STEPS.items() if controls == _controls(name))
_FACTORS = frozenset(one.metric for controls in _CONTROLS.values() for one in controls)
# How long a lab takes to build depends on how large it is, and on no link.
_OF_LAB = frozenset({"lab_start_s"})
_OF_LINKS = (_FACTORS | _OWN) - _OF_LAB


@dataclass(frozen=True)
class Shift:
    """How the controls moved, for each that was measured.

    `ratios`: new over base, middle over cells; `steps`: new minus base, likewise, in the control's unit; `outliers`: by
    how much the share of values above twice their cell's median rose, `dips` that of values below half of it.
    """

    ratios: Mapping[str, float]
    steps: Mapping[str, float] = field(default_factory=dict)
    outliers: Mapping[str, float] = field(default_factory=dict)
    dips: Mapping[str, float] = field(default_factory=dict)

    def factor(self, metric: str, *, rise: bool = True) -> float:
        """Return up to which factor a rise (or fall) of this metric may be the machine's; 1 where no control tells."""
        found = [
            math.log(self.ratios[one.metric]) * _sign(rise is not one.inverse)
            for one in _CONTROLS.get(metric, ())
            if one.metric in self.ratios
        ]
        return math.exp(_SAFETY * max([0.0, *found]))

    def step(self, metric: str, *, rise: bool = True) -> float:
        """Return how large a rise (or fall) of this metric may be the machine's, in its unit; 0 where none tells."""
        found = [
            self.steps[one.metric] * _sign(rise is not one.inverse)
            for one in _BY_STEPS.get(metric, ())
            if one.metric in self.steps
        ]
        return _SAFETY * max([0.0, *found])

    @property
    def largest(self) -> float:
        """The largest of all factors, in either direction, for a remark."""
        return math.exp(_SAFETY * max((abs(math.log(ratio)) for ratio in self.ratios.values()), default=0.0))

    @property
    def own(self) -> Mapping[str, float]:
        """The steps of those controls that are the underlay's own figures as a subject."""
        return {name: step for name, step in self.steps.items() if name in _OWN}

    def explains(self, metric: str, base: float, change: float) -> bool:
        """Tell whether a change of this metric may be the machine's."""
        if not (math.isfinite(base) and math.isfinite(change)) or change == 0:
            return False
        rise = change > 0
        factor = self.factor(metric, rise=rise)
        by_factor = abs(base) * (factor - 1 if rise else 1 - 1 / factor)
        return abs(change) <= max(by_factor, self.step(metric, rise=rise))

    def explains_outliers(self, metric: str, shares: tuple[float, float]) -> bool:
        """Tell whether the machine may have put more trials far off: of the base, of the new run as `shares`."""
        controls = (*_CONTROLS.get(metric, ()), *(one for one in _BY_STEPS.get(metric, ()) if one.metric in _OWN))
        found = [(self.dips if one.inverse else self.outliers).get(one.metric, 0.0) for one in controls]
        return shares[1] - shares[0] <= _SAFETY * max(found, default=0.0)

    @staticmethod
    def is_of(subject: str, metric: str) -> bool:
        """Tell whether this subject's metric is itself a control: the underlay's own loss blames no overlay."""
        return subject == _UNDERLAY and metric in _OWN


def _sign(positive: bool) -> int:
    return 1 if positive else -1


def shift_between(base: pd.DataFrame, new: pd.DataFrame, *, links_changed: bool, lab_changed: bool = False) -> Shift:
    """Return the shift between two runs' records.

    Args:
        links_changed: the runs declare other links, so that the underlay's figures tell of those.
        lab_changed: they declare another topology or parameters, so that a lab may take longer to build for its size.
    """
    metrics = (
        (_FACTORS | _OWN) - (_OF_LINKS if links_changed else frozenset()) - (_OF_LAB if lab_changed else frozenset())
    )
    logs: dict[str, list[float]] = {}
    steps: dict[str, list[float]] = {}
    cells: dict[str, list[Cell]] = {}
    for sample in match(base, new, metrics).samples:
        if sample.metric in _OWN and sample.subject != _UNDERLAY:
            continue
        cells.setdefault(sample.metric, []).extend(sample.cells)
        for old, now in _sides(sample):
            steps.setdefault(sample.metric, []).append(now - old)
            if min(old, now) > 0:
                logs.setdefault(sample.metric, []).append(math.log(now / old))
    return Shift(
        {metric: math.exp(float(np.median(found))) for metric, found in sorted(logs.items())},
        {metric: float(np.median(found)) for metric, found in sorted(steps.items())},
        {metric: _rise(found) for metric, found in sorted(cells.items())},
        {metric: _rise([_inverse(cell) for cell in found]) for metric, found in sorted(cells.items())},
    )


def _sides(sample: Sample) -> list[tuple[float, float]]:
    """Return the medians of the base and of the new run in each cell that has both."""
    sides = [cell.middles for cell in sample.parts]
    return [(old, now) for old, now in sides if math.isfinite(old) and math.isfinite(now)]


def _rise(cells: list[Cell]) -> float:
    base, new = outlier_shares([cell.outlying for cell in cells])
    return new - base


def _inverse(cell: Cell) -> Cell:
    """Return the cell with the inverse of each value, so that what was low is high."""
    with np.errstate(divide="ignore"):
        return replace(cell, values=as_floats(np.where(cell.values == 0, np.inf, 1 / cell.values)), pair_names=())


def unless_the_machine(change: Change, shift: Shift) -> Change:
    """Return the change, no longer called one where it may be the machine's own shift."""
    if change.verdict not in {"regression", "improvement"}:
        return change
    if shift.is_of(change.subject, change.metric):
        return replace(change, verdict="machine moved")
    if change.outliers_worse:
        if not shift.explains_outliers(change.metric, change.outliers):
            return change
        if not change.typical_worse:
            return replace(change, verdict="machine moved")
        change = replace(change, outliers_worse=False)
    told = [cell for cell in change.cells if cell.cell in change.named and cell.matters]
    parts = [(change.base, change.change), *((cell.base, cell.change) for cell in told)]
    worse = change.verdict == "regression"
    moved = [shift.explains(change.metric, base, size) for base, size in parts if change.goes(size, worse=worse)]
    return replace(change, verdict="machine moved") if moved and all(moved) else change
