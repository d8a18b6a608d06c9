"""What the oracle expects of a cell, what the simulated engine did, and what the lab saw, held together. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from harness.results.counts import Agrees, Count, difference, of_two, with_probability
from harness.results.record import COUNTED


@dataclass(frozen=True)
class Held:
    """Two layers held against each other: by how much the first one's rate is larger, and what tests say."""

    between: float
    low: float
    high: float
    verdict: Agrees


@dataclass(frozen=True)
class CellAgreement:
    """A cell under a condition, or all those in which the same NATs are in effect (`by_nats`).

    Attributes:
        emulated: where a lab had the same NATs and the overlay its full technique.
        nats: which those are, as labs name them.
        cells: so many cells of the population.
    """

    params: Mapping[str, Any]
    first: str
    second: str
    shared_layers: int
    share: float
    expected: float
    reason: str
    simulated: Count | None
    emulated: Count | None
    nats: tuple[str, ...] = ()
    cells: int = 1

    @property
    def held(self) -> dict[str, Held]:
        """What is said of each two of the three layers that are there; see `LAYERS`."""
        found: dict[str, Held] = {}
        if self.simulated is not None:
            found[ENGINE_ALGEBRA] = _against(self.simulated, self.expected)
        if self.simulated is not None and self.emulated is not None:
            between = self.emulated.rate - self.simulated.rate
            verdict = of_two(self.simulated, self.emulated)
            found[LAB_ENGINE] = Held(between, *difference(self.emulated, self.simulated), verdict)
        if self.emulated is not None:
            found[LAB_ALGEBRA] = _against(self.emulated, self.expected)
        return found

    @property
    def complaints(self) -> list[str]:
        """Which two of the three differ."""
        return [name for name, held in self.held.items() if held.verdict == "differ"]

    @property
    def open(self) -> list[str]:
        """Of which two of the three too few runs tell."""
        return [name for name, held in self.held.items() if held.verdict == "cannot tell"]


LAYERS = ENGINE_ALGEBRA, LAB_ENGINE, LAB_ALGEBRA = "engine - algebra", "emulation - engine", "emulation - algebra"
"""Two layers each: the difference of their rates."""


def _against(count: Count, expected: float) -> Held:
    low, high = count.interval()
    return Held(count.rate - expected, low - expected, high - expected, with_probability(count, expected))


def by_nats(cells: Iterable[CellAgreement]) -> list[CellAgreement]:
    """Return the cells that a lab has, those of a condition in which the same NATs are in effect as one.

    To the lab they are one cell, whose trials would else count once for each of them. Simulated worlds are added up.
    What is expected may depend on the links; then it is the mean over these worlds, and a sum of unlike chances varies
    less than the binomial test supposes.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[CellAgreement]] = {}
    for cell in cells:
        if cell.emulated is not None:
            groups.setdefault((condition_key(cell.params), cell.nats), []).append(cell)
    return [_as_one(group) if len(group) > 1 else group[0] for group in groups.values()]


def _as_one(group: Sequence[CellAgreement]) -> CellAgreement:
    simulated = [cell.simulated for cell in group if cell.simulated is not None]
    runs = sum(count.runs for count in simulated)
    weights = [cell.simulated.runs if cell.simulated is not None else 0 for cell in group] if runs else [1] * len(group)
    return replace(
        group[0],
        share=math.fsum(cell.share for cell in group),
        expected=math.fsum(w * cell.expected for w, cell in zip(weights, group, strict=True)) / sum(weights),
        simulated=Count(sum(count.successes for count in simulated), runs) if runs else None,
        cells=len(group),
    )


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
                    nats=_nats_of(cell, access),
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
