"""A world's end as records of a result folder. Pure; nothing in them depends on where or when it ran."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.results.record import Record
from harness.simulation.plan import PlannedWorld
from harness.simulation.population import Access, Population
from harness.simulation.world import PairResult, WorldResult

STARTED_AT = "1970-01-01T00:00:00+00:00"
"""Simulated time begins anywhere; a wall clock's time would make equal runs unequal."""


@dataclass(frozen=True)
class OfRun:
    """What all records of a run share: its id, its population with its name, and the engine's version."""

    run: str
    name: str
    population: Population
    version: str | None


def records_of(run: OfRun, world: PlannedWorld, result: WorldResult) -> list[Record]:
    """Return the records of one world, the terminating one last."""
    population = run.population
    accesses = [population.access[each] for each in world.names]
    pair_labels = [label_of(access) for access in accesses] if len(accesses) == 2 else [None, None]
    shared: dict[str, Any] = {
        "run": run.run,
        "scenario": run.name,
        "trial": world.id,
        "repeat": world.repeat,
        "seed": world.seed,
        "overlay": population.engine,
        "overlay_version": run.version,
        "mode": "mesh",
        "topology": "population",
        "nat_a": pair_labels[0],
        "nat_b": pair_labels[1],
        "params": world.condition.params
        | ({"shared_layers": world.shared_layers} if world.shared_layers else {})
        | {"deadline_s": population.deadline_s},
        "started_at": STARTED_AT,
        "engine": "simulated",
    }
    records: list[Record] = []
    for pair in result.pairs:
        records += _of_pair(shared, world, accesses, pair)
    last = Record(**shared, probe="trial", metric="duration_s", unit="s", value=round(result.seconds, 6))
    return [*records, last]


def _of_pair(shared: dict[str, Any], world: PlannedWorld, accesses: list[Access], pair: PairResult) -> list[Record]:
    punched = pair.verdict == "direct" and pair.direct_s is not None
    common = {
        **shared,
        "probe": "path",
        "src": f"m{pair.src}",
        "dst": f"m{pair.dst}",
        # As of a lab: what became direct while the probes at the deadline were under way was not so by the deadline.
        "path": "mixed" if pair.verdict == "direct" and not punched else pair.verdict,
        "path_claimed": pair.claimed,
        "pair": {
            f"m{member}": {"nat": label_of(accesses[member]), "access": world.names[member]}
            for member in (pair.src, pair.dst)
        },
    }
    return [
        Record(**common, metric="connect_success", unit="1", value=float(pair.verdict != "none")),
        Record(**common, metric="hole_punch_success", unit="1", value=float(punched)),
        Record(**common, metric="time_to_connect_s", unit="s", value=_rounded(pair.connect_s)),
        Record(**common, metric="time_to_direct_s", unit="s", value=_rounded(pair.direct_s)),
    ]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def label_of(access: Access) -> str | None:
    """Return the routers in front of a host, as records of labs name them; None for a public host."""
    return "+".join(behaviour.label for behaviour in access.behaviours) or None
