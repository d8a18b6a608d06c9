"""What a hub costs a computation of n parties: completion times by n and server's link, and the hub over the mesh.

With n parties that each send r to every other, a mesh's member sends (n - 1) r and the hub n (n - 1) r: the hub's link
becomes the bottleneck once n exceeds its rate divided by that of an access link. What is paired is what shares a seed
and a host: the same cell and repeat on the same machine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from harness.model.link import LinkProfile, parse_link
from harness.results import statistics
from harness.results.cells import cells, counted_values
from harness.results.conditions import told_apart
from harness.results.statistics import Estimate

COMPLETION = "_completion_s"
# A crossover is where the hub is slower by more than this, whatever else the server's place adds.
CLEARLY = 0.1

# *slower*: the claim holds; *as fast*: the interval holds 1 and no clear cost, so that it is refuted; *undecided*: it
# holds both, or there is none of 95 % (fewer than six runs). That a cost was not found does not refute it.
Judgement = Literal["slower", "as fast", "faster", "undecided"]
Subject = tuple[str, str]
_Cell = tuple[str, "Hub", int]


@dataclass(frozen=True)
class Hub:
    """The server's link: `ratio` of its rate to an access link's (NaN: that has none), one-way delay in ms.

    `besides` is what else was varied (NATs, say), which is never pooled either; `name` has it as well.
    """

    name: str
    ratio: float
    delay_ms: float
    besides: str = ""


@dataclass(frozen=True)
class Cost:
    """A hub's or a relay's completion time as a multiple of a mesh's, in one cell.

    `neither`: the repeats in which none of the two came to its end, which make no ratio. `apart`: those that the two
    ran on different hosts, whose ratio would be the machines'.
    """

    workload: str
    n: int
    hub: Hub
    subject: Subject
    mesh: Subject
    ratio: Estimate
    neither: int = 0
    apart: int = 0

    @property
    def judgement(self) -> Judgement:
        """Return what the interval says."""
        if self.ratio.n < statistics.FEWEST_FOR_INTERVAL:
            return "undecided"
        if self.ratio.low > 1:
            return "slower"
        if self.ratio.high < 1:
            return "faster"
        return "as fast" if self.ratio.high <= 1 + CLEARLY else "undecided"


@dataclass(frozen=True)
class Crossover:
    """From which n on a hub was clearly slower than a mesh, of those measured, and from which it should be.

    None: for none of them. `is_open`: a cell is not decided, on which it hangs. `mesh`: against which.
    """

    workload: str
    hub: Hub
    subject: Subject
    expected: int | None
    found: int | None
    measured: tuple[int, ...]
    is_open: bool = False
    mesh: Subject = ("", "mesh")


def computations(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row per trial and workload: its subject, n, hub and completion time in s (inf: censored).

    Columns: trial, seed, host (empty: not told), overlay, mode, n, hub (a `Hub`), workload, completion_s. Empty where
    no computation was run. A trial that failed before a workload, which others of its block ran, never completed it.
    """
    frame = cells(records.reset_index(drop=True))
    frame["value"] = counted_values(frame)
    ours = frame["metric"].str.endswith(COMPLETION) & ~frame["metric"].str.contains("underlay")
    kept = frame[ours & frame["value"].notna()]
    kept = pd.concat([kept, *_never_begun(frame, kept)], ignore_index=True)
    besides = told_apart(kept, without=("n", "link_s"))
    described = [_circumstances(str(text)) for text in kept["params"]]
    rows = pd.DataFrame(
        {
            "trial": kept["trial"].astype(str),
            "seed": kept["seed"],
            "host": kept["host"].astype(object).where(kept["host"].notna(), "").astype(str),
            "overlay": kept["overlay"].astype(str),
            "mode": kept["mode"].astype(str),
            "n": [
                n if n else len(json.loads(str(facts) or "{}"))
                for (n, _), facts in zip(described, kept["pair"], strict=True)
            ],
            "hub": [
                replace(hub, name=f"{hub.name}, {text}", besides=text) if text else hub
                for (_, hub), text in zip(described, besides, strict=True)
            ],
            "workload": kept["metric"].str.removesuffix(COMPLETION),
            "completion_s": kept["value"].astype(float),
        }
    )
    return rows.reset_index(drop=True)


def _never_begun(frame: pd.DataFrame, kept: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the workloads that failed trials never came to: the overlay's fault, so they count, as never completed."""
    ends = frame[(frame["probe"] == "trial") & (frame["metric"] == "duration_s") & (frame["outcome"] == "failed")]
    block = ["seed", "params", "topology", "engine"]
    for metric, done in kept.groupby("metric", sort=False):
        there = set(done[block].itertuples(index=False, name=None))
        missing = ends[~ends["trial"].isin(done["trial"])]
        missing = missing[[key in there for key in missing[block].itertuples(index=False, name=None)]]
        if len(missing):
            yield missing.assign(metric=metric, value=math.inf)


@lru_cache(maxsize=4096)
def _circumstances(params: str) -> tuple[int, Hub]:
    """Return parties and server's link from a record's parameters; 0 parties where they do not say."""
    given: Mapping[str, Any] = json.loads(params)
    access, server = (parse_link(given.get(name, "ideal")) for name in ("link", "link_s"))
    rate, own = _rate(server), _rate(access)
    ratio = rate / own if math.isfinite(own) else math.nan
    delay_ms = max(way.delay_ms for way in server.ways)
    return int(given.get("n", 0)), Hub(server.label, ratio, delay_ms)


def _rate(link: LinkProfile) -> float:
    """Return the slower direction's rate in Mbit/s."""
    return min(math.inf if way.rate_mbit is None else way.rate_mbit for way in link.ways)


def completion(rows: pd.DataFrame) -> Iterator[tuple[str, Hub, int, Subject, Estimate]]:
    """Yield workload, hub, n, subject and the completion time's estimate in s, in that order."""
    for key, group in _grouped(rows):
        workload, hub, n, overlay, mode = key
        yield workload, hub, n, (overlay, mode), statistics.median(list(group["completion_s"]))


def costs(rows: pd.DataFrame) -> list[Cost]:
    """Return every hub and relay against the mesh of its own product; without one, against each of the cell's.

    The fastest of several, chosen by the very times that it is compared by, would be fast by luck in part.
    """
    found = []
    for (workload, hub, n), part in _by_cell(rows):
        of = {(str(o), str(m)): group for (o, m), group in part.groupby(["overlay", "mode"], sort=True)}
        meshes = [subject for subject in of if subject[1] == "mesh"]
        for subject, group in of.items():
            if subject[1] in ("hub", "relay"):
                for mesh in [own] if (own := (subject[0], "mesh")) in meshes else meshes:
                    ratios, neither, apart = _paired(group, of[mesh])
                    if ratios or neither or apart:
                        ratio = statistics.median(ratios)
                        found.append(Cost(workload, n, hub, subject, mesh, ratio, neither, apart))
    return found


def crossovers(found: Iterable[Cost]) -> list[Crossover]:
    """Return from which n on each hub's link was the bottleneck: it was clearly slower at every n measured from there.

    For links whose rate says where it should be, where several n were measured and all have an interval.
    """
    groups: dict[tuple[str, Hub, Subject, Subject], dict[int, Cost]] = {}
    for cost in found:
        if math.isfinite(cost.hub.ratio) and cost.subject[1] in ("hub", "relay"):
            groups.setdefault((cost.workload, cost.hub, cost.subject, cost.mesh), {})[cost.n] = cost
    result = []
    for (workload, hub, subject, mesh), by_n in groups.items():
        measured = tuple(sorted(by_n))
        if len(measured) > 1 and not any(math.isnan(cost.ratio.low) for cost in by_n.values()):
            slow = [n for n in measured if by_n[n].ratio.low > 1 + CLEARLY]
            start = next((n for n in slow if all(later in slow for later in measured if later > n)), None)
            expected = next((n for n in measured if n > hub.ratio), None)
            is_open = any(cost.judgement == "undecided" for cost in by_n.values())
            result.append(Crossover(workload, hub, subject, expected, start, measured, is_open, mesh))
    return result


def _paired(group: pd.DataFrame, base: pd.DataFrame) -> tuple[list[float], int, int]:
    """Return ratios of completion times that share seed and host, inf where one never came; what makes none is counted.

    That is, how many blocks there are in which neither came, and how many that the two ran on different hosts.
    """
    block = ["seed", "host"]
    both = group[[*block, "completion_s"]].merge(
        base.drop_duplicates(block)[[*block, "completion_s"]], on=block, suffixes=("", "_base")
    )
    with np.errstate(invalid="ignore"):
        ratios = both["completion_s"].to_numpy(float) / both["completion_s_base"].to_numpy(float)
    apart = set(group["seed"]) & set(base["seed"]) - set(both["seed"])
    return [float(ratio) for ratio in ratios if not math.isnan(ratio)], int(np.isnan(ratios).sum()), len(apart)


def _by_cell(rows: pd.DataFrame) -> Iterator[tuple[tuple[str, Hub, int], pd.DataFrame]]:
    found = {cast(_Cell, key): part for key, part in rows.groupby(["workload", "hub", "n"], sort=False)}
    for key in sorted(found, key=_order):
        yield (key[0], key[1], int(key[2])), found[key]


def _grouped(rows: pd.DataFrame) -> Iterator[tuple[tuple[str, Hub, int, str, str], pd.DataFrame]]:
    for (workload, hub, n), part in _by_cell(rows):
        for (overlay, mode), group in part.groupby(["overlay", "mode"], sort=True):
            yield (workload, hub, n, str(overlay), str(mode)), group


def hub_key(hub: Hub) -> tuple[float, float, str]:
    """Sort key of servers' links: the nearer first, then the slower."""
    return hub.delay_ms, hub.ratio if math.isfinite(hub.ratio) else math.inf, hub.name


def workload_key(name: str) -> tuple[int, str]:
    """Sort key of workloads: from small messages to large ones."""
    known = ("chatty", "mixed", "bulk")
    return known.index(name) if name in known else len(known), name


def _order(key: _Cell) -> tuple[Any, ...]:
    return workload_key(key[0]), hub_key(key[1]), key[2]
