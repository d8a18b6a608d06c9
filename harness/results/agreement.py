"""Three ways to one figure: what the oracle expects of a cell, what the simulated engine did, what the lab saw. Pure.

Two rates agree when the 99 % interval of their difference has zero in it (Newcombe 1998, from Wilson's intervals); a
rate agrees with a probability when that is in its 99 % interval.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.results.record import COUNTED
from harness.results.statistics import wilson

CONFIDENCE = 0.99


@dataclass(frozen=True)
class Count:
    """Successes of so many runs."""

    successes: int
    runs: int

    @property
    def rate(self) -> float:
        """The share."""
        return self.successes / self.runs

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Wilson's."""
        return wilson(self.rate, self.runs, confidence)


@dataclass(frozen=True)
class CellAgreement:
    """A cell under a condition; `emulated` where a lab had the same NATs and the overlay its full technique."""

    params: Mapping[str, Any]
    first: str
    second: str
    shared_layers: int
    share: float
    expected: float
    reason: str
    simulated: Count | None
    emulated: Count | None

    @property
    def complaints(self) -> list[str]:
        """Which of the three do not agree."""
        found = []
        if self.simulated is not None and not _has(self.simulated, self.expected):
            found.append("algebra and engine")
        if self.emulated is not None and not _has(self.emulated, self.expected):
            found.append("algebra and emulation")
        if self.simulated is not None and self.emulated is not None and not same(self.simulated, self.emulated):
            found.append("engine and emulation")
        return found


def _has(count: Count, probability: float) -> bool:
    low, high = count.interval()
    return low - 1e-9 <= probability <= high + 1e-9


def same(one: Count, other: Count) -> bool:
    """Tell whether two rates may be one."""
    (low1, high1), (low2, high2) = one.interval(), other.interval()
    change = one.rate - other.rate
    below = math.hypot(one.rate - low1, high2 - other.rate)
    above = math.hypot(high1 - one.rate, other.rate - low2)
    return change - below <= 1e-9 and change + above >= -1e-9


CellName = tuple[str, str, int]


def _punched(records: pd.DataFrame) -> pd.DataFrame:
    """Return what simulated worlds found; one in which the harness failed found nothing."""
    ours = (records["metric"] == "hole_punch_success") & (records["engine"] == "simulated")
    return records[ours & records["outcome"].isin(COUNTED)]


def simulated_counts(records: pd.DataFrame) -> dict[tuple[str, CellName], Count]:
    """Return counts by condition (canonical JSON without bounds) and cell, of the worlds of two members that count."""
    rows = _punched(records)
    found: dict[tuple[str, CellName], list[int]] = {}
    for params_text, pair_text, value in zip(
        rows["params"].astype(str), rows["pair"].astype(str), rows["value"], strict=True
    ):
        params, pair = json.loads(params_text), json.loads(pair_text)
        if params.get("group") != 2:
            continue
        names = [member["access"] for member in pair.values()]
        cell = (names[0], names[-1], int(params.get("shared_layers", 0)))
        counts = found.setdefault((condition_key(params), cell), [0, 0])
        counts[0] += int(value == 1)
        counts[1] += 1
    return {key: Count(*counts) for key, counts in found.items()}


def condition_key(params: Mapping[str, Any]) -> str:
    """Return the condition alone."""
    names = ("technique", "port_mapping", "ipv6", "group")
    return json.dumps([params.get(name) for name in names])


def agreement(described: Mapping[str, Any], records: pd.DataFrame, overlay: str) -> list[CellAgreement]:
    """Return all cells of all conditions of two members.

    Args:
        described: the folder's population.json.
        overlay: the name under which an emulated run has the simulated engine.
    """
    counts = simulated_counts(records)
    lab = {
        tuple(cell["nats"]): Count(cell["successes"], cell["runs"])
        for cell in described.get("emulated", ())
        if (cell["overlay"], cell["mode"]) == (overlay, "mesh")
    }
    access = described["access"]
    full = described["conditions"][-1]["params"]["technique"] if described["conditions"] else ""
    found = []
    for condition in described["conditions"]:
        params = condition["params"]
        whole = params["technique"] == full and not params["port_mapping"] and not params["ipv6"]
        for cell in condition["cells"]:
            name = (cell["first"], cell["second"], cell["shared_layers"])
            nats = tuple(sorted(str(access[each]["nat"] or "none") for each in name[:2]))
            found.append(
                CellAgreement(
                    params,
                    *name,
                    share=cell["share"],
                    expected=cell["expected"],
                    reason=cell["reason"],
                    simulated=counts.get((condition_key(params), name)),
                    emulated=lab.get(nats) if whole and not cell["shared_layers"] else None,
                )
            )
    return found


@dataclass(frozen=True)
class Weighted:
    """A population's rate from those of its cells, with its 95 % interval."""

    rate: float
    low: float
    high: float
    worlds: int


def weighted(cells: Sequence[CellAgreement], shares: Mapping[CellName, float] | None = None) -> Weighted | None:
    """Return the engine's rate over all pairs of one condition; None where a cell that has a share was not simulated.

    The interval is put together from the cells' own (variance estimates recovery).
    """
    total = below = above = 0.0
    worlds = 0
    for cell in cells:
        share = cell.share if shares is None else shares[cell.first, cell.second, cell.shared_layers]
        if not share:
            continue
        if cell.simulated is None:
            return None
        low, high = cell.simulated.interval(0.95)
        total += share * cell.simulated.rate
        below += (share * (cell.simulated.rate - low)) ** 2
        above += (share * (high - cell.simulated.rate)) ** 2
        worlds += cell.simulated.runs
    return Weighted(total, max(0.0, total - math.sqrt(below)), min(1.0, total + math.sqrt(above)), worlds)


def whole_groups(records: pd.DataFrame) -> dict[tuple[str, int], Count]:
    """Return groups of three or more whose pairs are all direct, by condition; of those that count."""
    rows = _punched(records)
    found: dict[tuple[str, int], list[int]] = {}
    for (params_text, _), group in rows.groupby(["params", "trial"], observed=True, sort=True):
        params = json.loads(str(params_text))
        if params.get("group", 2) > 2:
            counts = found.setdefault((condition_key({**params, "group": 2}), int(params["group"])), [0, 0])
            counts[0] += int((group["value"] == 1).all())
            counts[1] += 1
    return {key: Count(*counts) for key, counts in found.items()}


def of_condition(cells: Iterable[CellAgreement], params: Mapping[str, Any]) -> list[CellAgreement]:
    """Return the cells of one condition."""
    return [cell for cell in cells if cell.params == params]
