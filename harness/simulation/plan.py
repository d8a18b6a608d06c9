"""A population to its worlds: conditions, cells with their shares, groups drawn from the shares, seeds. Pure."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from harness.simulation.contract import Abilities
from harness.simulation.population import Population, Sweep
from harness.simulation.world import WorldSpec


@dataclass(frozen=True)
class Condition:
    """One combination of what is swept."""

    technique: str
    port_mapping: bool
    ipv6: bool
    group: int

    @property
    def params(self) -> dict[str, object]:
        """As records name it."""
        return {
            "technique": self.technique,
            "port_mapping": self.port_mapping,
            "ipv6": self.ipv6,
            "group": self.group,
        }


@dataclass(frozen=True)
class Cell:
    """An unordered pair of access types; `shared_layers` of the outermost routers are the same for both."""

    first: str
    second: str
    shared_layers: int = 0

    @property
    def label(self) -> str:
        """As people read it."""
        return f"{self.first} x {self.second}" + (f", {self.shared_layers} shared" if self.shared_layers else "")


@dataclass(frozen=True)
class PlannedWorld:
    """A trial: one world of one condition."""

    id: str
    condition: Condition
    names: tuple[str, ...]
    shared_layers: int
    repeat: int
    seed: int


def conditions_of(sweep: Sweep) -> list[Condition]:
    """Return all conditions, those of one level side by side."""
    return [
        Condition(level.technique, level.port_mapping, level.ipv6, group)
        for level in sweep.levels
        for group in sweep.group
    ]


def cells_of(population: Population) -> list[Cell]:
    """Return all cells of a pair, apart and together."""
    apart = [Cell(a, b) for a, b in itertools.combinations_with_replacement(population.access, 2)]
    together = [
        Cell(name, name, access.together.layers)
        for name, access in population.access.items()
        if access.together is not None
    ]
    return apart + together


def cell_shares(population: Population, shares: Mapping[str, float] | None = None) -> dict[Cell, float]:
    """Return the share of each cell among all pairs of peers who are drawn independently.

    Pairs behind the same routers are pairs of one type, whose other pairs are so many fewer; with other shares as
    large a part of that type's pairs is together.
    """
    share_of = dict(shares) if shares is not None else {n: access.share for n, access in population.access.items()}
    together = {
        name: access.together.share * (share_of[name] / access.share) ** 2
        for name, access in population.access.items()
        if access.together is not None
    }

    def of(cell: Cell) -> float:
        if cell.shared_layers:
            return together[cell.first]
        both = share_of[cell.first] * share_of[cell.second]
        return 2 * both if cell.first != cell.second else max(0.0, both - together.get(cell.first, 0.0))

    return {cell: of(cell) for cell in cells_of(population)}


class Plan:
    """All worlds of a population, by number: nothing is kept but the number of each block."""

    def __init__(self, population: Population) -> None:
        self.population = population
        self.conditions = conditions_of(population.matrix)
        self.cells = cells_of(population)

    @cached_property
    def _sizes(self) -> list[int]:
        pairs = len(self.cells) * self.population.worlds
        return [pairs if condition.group == 2 else self.population.groups for condition in self.conditions]

    def __len__(self) -> int:
        return sum(self._sizes)

    def __iter__(self) -> Iterator[PlannedWorld]:
        return map(self.world, range(len(self)))

    def world(self, number: int) -> PlannedWorld:
        """Return the world of this number."""
        for condition, size in zip(self.conditions, self._sizes, strict=True):
            if number < size:
                return self._pair(condition, number) if condition.group == 2 else self._group(condition, number)
            number -= size
        raise IndexError(number)

    def spec(self, world: PlannedWorld) -> WorldSpec:
        """Return what is needed to run it."""
        population, condition = self.population, world.condition
        return WorldSpec(
            members=tuple(population.access[name] for name in world.names),
            shared_layers=world.shared_layers,
            abilities=Abilities(condition.technique, condition.port_mapping),
            ipv6=condition.ipv6,
            seed=f"{population.engine}/{world.seed}",
            deadline_s=population.deadline_s,
            apart_s=population.apart_s,
            crypto=population.crypto,
            server=population.server,
        )

    def _pair(self, condition: Condition, number: int) -> PlannedWorld:
        index, repeat = divmod(number, self.population.worlds)
        cell = self.cells[index]
        return self._world(condition, (cell.first, cell.second), cell.shared_layers, index, repeat)

    def _group(self, condition: Condition, number: int) -> PlannedWorld:
        access = self.population.access
        rng = random.Random(f"{self.population.seed}/group {condition.group}/{number}")
        names = rng.choices(list(access), [each.share for each in access.values()], k=condition.group)
        return self._world(condition, tuple(names), 0, 10_000 + condition.group, number)

    def _world(
        self, condition: Condition, names: tuple[str, ...], shared_layers: int, block: int, repeat: int
    ) -> PlannedWorld:
        # The same for all techniques of a cell and repeat: they can be compared in pairs.
        seed = random.Random(f"{self.population.seed}/{block}/{repeat}").getrandbits(48)
        words = [condition.technique]
        words += [word for word, on in (("mapping", condition.port_mapping), ("ipv6", condition.ipv6)) if on]
        where = [*names, f"shared{shared_layers}"] if shared_layers else list(names)
        place = where if condition.group == 2 else [f"group{condition.group}"]
        return PlannedWorld(
            "_".join([*words, *place, f"r{repeat + 1}"]), condition, names, shared_layers, repeat + 1, seed
        )
