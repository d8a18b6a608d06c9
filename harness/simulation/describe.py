"""What a result folder keeps of its population, so that reports need no oracle: shares, expectations, bands. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.nat.oracle import ASKS_NOBODY
from harness.simulation.algebra import (
    Level,
    expected_cells,
    group_success,
    is_drawn,
    is_eim,
    level_of,
    maps_ports,
    pair_success,
    with_eim_share,
)
from harness.simulation.contract import engines
from harness.simulation.declared import declared_levels
from harness.simulation.effect import nats_in_effect
from harness.simulation.load import LoadedPopulation
from harness.simulation.plan import Condition, Plan
from harness.simulation.population import Access, Population
from harness.simulation.records import label_of

CURVE_POINTS = 21
GROUPS = (3, 5, 10)


def described(loaded: LoadedPopulation, emulated: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return everything of the population that reports show, the algebra's expectations included.

    `emulated` are the cells of a lab's run (`harness.simulation.emulated`).
    """
    population = loaded.population
    plan = Plan(population)
    level = level_of(engines()[population.engine], population)
    tried = {ports for one, other in _two_each(population) for ports in level.between(one.link, other.link).tried_ports}
    return {
        "name": loaded.name,
        "description": population.description,
        "deadline_s": population.deadline_s,
        "birthday": {"opened_ports": level.opened_ports, "tried_ports": [min(tried), max(tried)]},
        "access": {
            name: {
                "share": access.share,
                "nat": label_of(access),
                "eim": is_eim(access),
                "maps_ports": maps_ports(access),
                "ipv6": access.ipv6,
                "source": access.source,
            }
            for name, access in population.access.items()
        },
        "conditions": [
            _condition(population, condition, level)
            for condition in dict.fromkeys(replace(each, group=2) for each in plan.conditions)
        ],
        "declared": declared_levels(population, emulated),
        "emulated": list(emulated),
        "churn": population.churn.model_dump(mode="json") if population.churn is not None else None,
        "bands": [band.model_dump(mode="json") for band in population.bands],
    }


def _two_each(population: Population) -> Iterator[tuple[Access, Access]]:
    return itertools.combinations_with_replacement(population.access.values(), 2)


def _condition(population: Population, condition: Condition, level: Level) -> dict[str, Any]:
    cells = expected_cells(population, condition, level)
    shares = {name: access.share for name, access in population.access.items()}
    apart = {(each.cell.first, each.cell.second): each.probability for each in cells if not each.cell.shared_layers}
    sizes = _sizes(population)
    return {
        "params": condition.params,
        "cells": [
            {
                "first": each.cell.first,
                "second": each.cell.second,
                "shared_layers": each.cell.shared_layers,
                "nats": nats_in_effect(
                    population.access[each.cell.first],
                    population.access[each.cell.second],
                    asks_by=level.asks_by if condition.port_mapping else ASKS_NOBODY,
                    ipv6=condition.ipv6,
                ),
                "share": each.share,
                "expected": each.probability,
                "reason": each.reason,
            }
            for each in cells
        ],
        "pairs": pair_success(cells),
        "groups": {str(size): group_success(shares, apart, size) for size in sizes},
        "groups_drawn": [str(size) for size in sizes if is_drawn(shares, apart, size)],
        "curve": list(_curve(population, condition, level)),
    }


def _sizes(population: Population) -> list[int]:
    return sorted({*GROUPS, *population.matrix.group} - {2})


def _curve(population: Population, condition: Condition, level: Level) -> Iterator[dict[str, Any]]:
    """Yield the points that the population's types can make up."""
    for number in range(CURVE_POINTS):
        eim = number / (CURVE_POINTS - 1)
        shares = with_eim_share(population, eim)
        if shares is not None:
            cells = expected_cells(population, condition, level, shares)
            yield {
                "eim": eim,
                "pairs": pair_success(cells),
                "cells": [[each.cell.first, each.cell.second, each.cell.shared_layers, each.share] for each in cells],
            }
