"""Three ways to one figure: what the oracle expects of a cell, what the simulated engine did, what the lab saw. Pure.

Two rates differ where Barnard's exact test says so, and a rate differs from a probability where the exact binomial test
does, at 1 % each. Where they do not differ they agree only if so many runs could have shown a difference of 20 points,
in either direction that there is, with a power of 80 %; else it cannot be told: 3 of 3 agree with nearly everything.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from harness.results.record import COUNTED
from harness.results.statistics import wilson

CONFIDENCE = 0.99
# What must be seen, and how surely, for "no difference" to say anything.
DIFFERENCE, POWER = 0.2, 0.8
# Beyond so many pairs of counts the exact test takes long, and Fisher's is hardly weaker.
_MOST_EXACT = 200

Agrees = Literal["agree", "differ", "cannot tell"]


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
    def _judged(self) -> dict[str, Agrees]:
        """What is said of each two of the three that are there."""
        found: dict[str, Agrees] = {}
        if self.simulated is not None:
            found["algebra and engine"] = with_probability(self.simulated, self.expected)
        if self.emulated is not None:
            found["algebra and emulation"] = with_probability(self.emulated, self.expected)
        if self.simulated is not None and self.emulated is not None:
            found["engine and emulation"] = of_two(self.simulated, self.emulated)
        return found

    @property
    def complaints(self) -> list[str]:
        """Which of the three differ."""
        return [name for name, judged in self._judged.items() if judged == "differ"]

    @property
    def open(self) -> list[str]:
        """Of which of the three too few runs tell."""
        return [name for name, judged in self._judged.items() if judged == "cannot tell"]


@lru_cache(maxsize=65536)
def with_probability(count: Count, probability: float) -> Agrees:
    """Hold a rate against what is expected. Pure."""
    rejected, power = _binomial_test(count.runs, probability)
    if rejected[count.successes]:
        return "differ"
    return "agree" if power >= POWER else "cannot tell"


@lru_cache(maxsize=65536)
def _binomial_test(runs: int, probability: float) -> tuple[tuple[bool, ...], float]:
    """Return of each count whether the exact test rejects the probability, and its power against the nearest other."""
    seen = np.arange(runs + 1)
    mass = stats.binom.pmf(seen, runs, probability)
    order = np.argsort(mass, kind="stable")
    # Two-sided: all counts that are no likelier than the one that was seen; equal ones but for rounding are as likely.
    below = np.searchsorted(mass[order], mass * (1 + 1e-7), side="right")
    rejected = np.cumsum(mass[order])[below - 1] < 1 - CONFIDENCE
    away = [other for other in (probability - DIFFERENCE, probability + DIFFERENCE) if 0 <= other <= 1]
    power = min(float(stats.binom.pmf(seen, runs, other)[rejected].sum()) for other in away)
    return tuple(rejected.tolist()), power


@lru_cache(maxsize=65536)
def of_two(one: Count, other: Count) -> Agrees:
    """Hold two rates against each other. Pure."""
    if _p_of_two(one.successes, one.runs, other.successes, other.runs) < 1 - CONFIDENCE:
        return "differ"
    rate = (one.successes + other.successes) / (one.runs + other.runs)
    away = [end for end in (rate - DIFFERENCE, rate + DIFFERENCE) if 0 <= end <= 1]
    few, many = sorted((one, other), key=lambda count: count.runs)
    return "agree" if min(_power(many, few.runs, end) for end in away) >= POWER else "cannot tell"


def _p_of_two(k: int, n: int, j: int, m: int) -> float:
    table = [[k, j], [n - k, m - j]]
    if k + j in (0, n + m):
        return 1.0
    if max(n, m) > _MOST_EXACT:
        return float(stats.fisher_exact(table).pvalue)
    return float(stats.barnard_exact(table, n=16).pvalue)


def _power(many: Count, runs: int, rate: float) -> float:
    """Return how surely the test finds a smaller sample of so many runs that has this rate to differ. Exact."""

    def differs(successes: int) -> bool:
        return _p_of_two(many.successes, many.runs, successes, runs) < 1 - CONFIDENCE

    # What differs lies on the two sides of what agrees most.
    alike = round(many.rate * runs)
    below = bisect_left(range(alike + 1), True, key=lambda successes: not differs(successes))
    above = bisect_left(range(alike, runs + 1), True, key=differs) + alike
    return float(stats.binom.cdf(below - 1, runs, rate) + stats.binom.sf(above - 1, runs, rate))


CellName = tuple[str, str, int]
CellCounts = dict[tuple[str, CellName], Count]
_ENDS = ["trial", "src", "dst"]


@dataclass
class WorldCounts:
    """What simulated worlds found, counted; one in which the harness failed found nothing.

    Attributes:
        cells: of worlds of two members by condition (canonical JSON without bounds) and cell: pairs that are direct.
        within: the same by seconds: pairs that were direct no later, and are so at the end.
        groups: of larger worlds by condition and size: those whose pairs are all direct.
        overlays: the names that their records have.
    """

    cells: CellCounts = field(default_factory=dict)
    within: dict[float, CellCounts] = field(default_factory=dict)
    groups: dict[tuple[str, int], Count] = field(default_factory=dict)
    overlays: set[str] = field(default_factory=set)


def counts_of(parts: Iterable[pd.DataFrame], within_s: Sequence[float] = ()) -> WorldCounts:
    """Count the records of a run that come in parts, each of whole trials; `within_s`: also what was direct by then."""
    found = WorldCounts(within={seconds: {} for seconds in within_s})
    for records in parts:
        found.overlays |= set(records["overlay"].astype(str).unique())
        counted = records[(records["engine"] == "simulated") & records["outcome"].isin(COUNTED)]
        rows = counted[counted["metric"] == "hole_punch_success"]
        times = counted.loc[counted["metric"] == "time_to_direct_s", [*_ENDS, "value"]]
        since_s = rows[_ENDS].merge(times, how="left", on=_ENDS)["value"].set_axis(rows.index)
        _count_cells(found.cells, rows, rows["value"] == 1)
        for seconds, cells in found.within.items():
            _count_cells(cells, rows, (rows["value"] == 1) & (since_s <= seconds))
        whole = (rows["value"] == 1).groupby([rows["params"], rows["trial"]], observed=True, sort=False).all()
        for params_text, of_params in whole.groupby(level=0, observed=True, sort=False):
            params = json.loads(str(params_text))
            if params.get("group", 2) > 2:
                key = (condition_key({**params, "group": 2}), int(params["group"]))
                _add(found.groups, key, int(of_params.sum()), len(of_params))
    return found


def _count_cells(counts: CellCounts, rows: pd.DataFrame, direct: pd.Series) -> None:
    found = direct.groupby([rows["params"], rows["pair"]], observed=True, sort=False).agg(["sum", "size"]).reset_index()
    for params_text, pair_text, successes, runs in found.itertuples(index=False, name=None):
        params, pair = json.loads(str(params_text)), json.loads(str(pair_text))
        if params.get("group") == 2:
            names = [member["access"] for member in pair.values()]
            cell = (names[0], names[-1], int(params.get("shared_layers", 0)))
            _add(counts, (condition_key(params), cell), int(successes), int(runs))


def _add(counts: dict[Any, Count], key: Any, successes: int, runs: int) -> None:
    before = counts.get(key, Count(0, 0))
    counts[key] = Count(before.successes + successes, before.runs + runs)


def condition_key(params: Mapping[str, Any]) -> str:
    """Return the condition alone."""
    names = ("technique", "port_mapping", "ipv6", "group")
    return json.dumps([params.get(name) for name in names])


def agreement(described: Mapping[str, Any], counts: WorldCounts, overlay: str) -> list[CellAgreement]:
    """Return all cells of all conditions of two members.

    Args:
        described: the folder's population.json.
        overlay: the name under which an emulated run has the simulated engine.
    """
    lab = {
        tuple(cell["nats"]): Count(cell["successes"], cell["runs"])
        for cell in described.get("emulated", ())
        if (cell["overlay"], cell["mode"]) == (overlay, "mesh") and cell["runs"]
    }
    access = described["access"]
    # A lab ran the product with all that it can do; where no router maps ports it may as well not have asked.
    product: Mapping[str, Any] = next((each for each in described["declared"] if each["overlay"] == overlay), {})
    asks = bool(product.get("port_mapping"))
    found = []
    for condition in described["conditions"]:
        params = condition["params"]
        full = params["technique"] == product.get("technique")
        for cell in condition["cells"]:
            name = (cell["first"], cell["second"], cell["shared_layers"])
            whole = full and _is_what_the_lab_ran(params, cell, [access[each] for each in name[:2]], asks=asks)
            found.append(
                CellAgreement(
                    params,
                    *name,
                    share=cell["share"],
                    expected=cell["expected"],
                    reason=cell["reason"],
                    simulated=counts.cells.get((condition_key(params), name)),
                    emulated=lab.get(_nats_of(cell, access)) if whole and not cell["shared_layers"] else None,
                )
            )
    return found


def _is_what_the_lab_ran(
    params: Mapping[str, Any], cell: Mapping[str, Any], access: Sequence[Mapping[str, Any]], *, asks: bool
) -> bool:
    """Tell whether the product met these NATs over IPv4 as the condition has it; its technique is another matter."""
    if params["ipv6"] and all(each.get("ipv6", True) for each in access):
        return False
    mapped = any(each.get("maps_ports") for each in access)
    # Without ports on request the cell is that of a router that maps none, whatever the product asks.
    return not mapped or params["port_mapping"] == asks or ("nats" in cell and not params["port_mapping"])


def _nats_of(cell: Mapping[str, Any], access: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the NATs in effect in a cell as labs name them; folders of before have those of its types alone."""
    return tuple(cell.get("nats") or sorted(str(access[cell[end]]["nat"] or "") for end in ("first", "second")))


@dataclass(frozen=True)
class Weighted:
    """A population's rate from those of its cells, with its 95 % interval."""

    rate: float
    low: float
    high: float
    worlds: int


def weighted(cells: Sequence[CellAgreement], shares: Mapping[CellName, float] | None = None) -> Weighted | None:
    """Return the engine's rate over all pairs of one condition; None where none or not all with a share were simulated.

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
    if not worlds:
        return None
    return Weighted(total, max(0.0, total - math.sqrt(below)), min(1.0, total + math.sqrt(above)), worlds)


def of_condition(cells: Iterable[CellAgreement], params: Mapping[str, Any]) -> list[CellAgreement]:
    """Return the cells of one condition."""
    return [cell for cell in cells if cell.params == params]
