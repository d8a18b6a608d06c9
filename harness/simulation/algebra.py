"""What the oracle expects of a population: a matrix over access types, and sums over pairs and groups. Pure.

All pairs of 10^5 peers are a sum over cells. P(all pairs of a group are direct) is a sum over how many of each type are
in it; pairs of a group are taken as independent, given the types.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from harness.model.nat import Mapping as NatMapping
from harness.model.nat import NatBehaviour, PortMappingProtocol
from harness.model.nat_ipv6 import as_seen_in_ipv6
from harness.nat.oracle import ALL_PROTOCOLS, ASKS_NOBODY, Expectation, expected_path
from harness.simulation.contract import Delays, SimulatedEngine
from harness.simulation.plan import Cell, Condition, cell_shares, cells_of
from harness.simulation.population import Access, AccessLink, Population

MOST_COUNTED, DRAWN = 50_000, 20_000
"""Ways to make up a group that are summed one by one; groups that are drawn where there are more."""


@dataclass(frozen=True)
class Level:
    """What an overlay does within its technique.

    Birthday probing: ports opened at a time, ports tried by the deadline in each of some equally likely ways. Where
    a condition has port mapping: the protocols by which routers are asked. `guesses_both`: whether ports are tried
    where both mappings depend on the destination. `ports_between`: the two numbers of ports between hosts with
    these links, where those matter.
    """

    opened_ports: int
    tried_ports: tuple[int, ...]
    asks_by: frozenset[PortMappingProtocol] = ALL_PROTOCOLS
    guesses_both: bool = True
    ports_between: Callable[[AccessLink, AccessLink], tuple[int, tuple[int, ...]]] | None = None

    def between(self, one: AccessLink, other: AccessLink) -> Level:
        """Return what it does between hosts with these links."""
        if self.ports_between is None:
            return self
        opened, tried = self.ports_between(one, other)
        return Level(opened, tried, self.asks_by, self.guesses_both)


def level_of(
    engine: SimulatedEngine, population: Population, asks_by: frozenset[PortMappingProtocol] = ALL_PROTOCOLS
) -> Level:
    """Return what an engine does by the population's deadline, over its links."""

    @cache
    def ports(one: AccessLink, other: AccessLink) -> tuple[int, tuple[int, ...]]:
        delays = Delays(*map(_delay_s, (one, other, population.server)))
        return engine.birthday_ports(population.deadline_s, delays)

    return Level(*ports(AccessLink(), AccessLink()), asks_by, engine.guesses_both, ports)


def _delay_s(link: AccessLink) -> float:
    return (link.delay_ms + link.jitter_ms / 2) / 1000


@dataclass(frozen=True)
class CellExpectation:
    """What the oracle expects of a cell under a condition."""

    cell: Cell
    share: float
    probability: float
    reason: str


def expected_cell(first: Access, second: Access, shared_layers: int, condition: Condition, level: Level) -> Expectation:
    """Return the better of what the two IP versions give: an overlay that has both tries both (RFC 8421)."""
    level = level.between(first.link, second.link)
    found = []
    if all(router.ipv4 for router in (*first.behaviours, *second.behaviours)):
        found.append(expected_pair(first.behaviours, second.behaviours, shared_layers, condition, level))
    if condition.ipv6 and first.ipv6 and second.ipv6:
        one, other = ([_in_ipv6(router) for router in access.behaviours] for access in (first, second))
        found.append(expected_pair(one, other, shared_layers, condition, level))
    if not found:
        return Expectation("none", 0.0, "the two have no IP version in common")
    return max(found, key=lambda one: one.probability)


def _in_ipv6(router: NatBehaviour) -> NatBehaviour:
    seen = as_seen_in_ipv6(router)
    assert seen is not None  # the population's model has seen to it
    return seen


def expected_pair(
    a: Sequence[NatBehaviour], b: Sequence[NatBehaviour], shared_layers: int, condition: Condition, level: Level
) -> Expectation:
    """Return what the oracle expects of two stacks of routers in one IP version.

    The mean of the probabilities of all numbers of ports that may be tried. That of their mean would be larger, as each
    further port adds less.
    """

    def with_tries(tried_ports: int) -> Expectation:
        return expected_path(
            a,
            b,
            condition.technique,
            shared_layers,
            asks_by=level.asks_by if condition.port_mapping else ASKS_NOBODY,
            opened_ports=level.opened_ports,
            tried_ports=tried_ports,
            guesses_both=level.guesses_both,
        )

    counts = Counter(level.tried_ports)
    found = with_tries(max(counts))
    if found.path != "either" or len(counts) == 1:
        return found
    probabilities = (count * with_tries(tried).probability for tried, count in counts.items())
    return replace(found, probability=math.fsum(probabilities) / counts.total())


def expected_cells(
    population: Population, condition: Condition, level: Level, shares: Mapping[str, float] | None = None
) -> list[CellExpectation]:
    """Return all cells of a pair, each with its share of all pairs."""
    share_of = cell_shares(population, shares)
    found = []
    for cell in cells_of(population):
        first, second = population.access[cell.first], population.access[cell.second]
        expected = expected_cell(first, second, cell.shared_layers, condition, level)
        found.append(CellExpectation(cell, share_of[cell], expected.probability, expected.reason))
    return found


def pair_success(cells: Sequence[CellExpectation]) -> float:
    """Return the share of all pairs that is direct."""
    return math.fsum(each.share * each.probability for each in cells)


def group_success(shares: Mapping[str, float], probability: Mapping[tuple[str, str], float], size: int) -> float:
    """P(all pairs of a group are direct), its members drawn independently.

    Types that do alike count as one. Where there are still too many ways to make up a group, `DRAWN` groups are drawn,
    always the same ones; the standard error is then below 0.4 points.

    Args:
        probability: of a direct path, by pair of types in the order in which `shares` has them.
    """
    weights, table = _merged(shares, probability)
    if not weights:
        return 0.0
    if _too_many(weights, size):
        return _drawn(weights, table, size)
    return math.factorial(size) * math.fsum(_terms(weights, table, size, ()))


def is_drawn(shares: Mapping[str, float], probability: Mapping[tuple[str, str], float], size: int) -> bool:
    """Tell whether `group_success` of the same arguments is of groups that were drawn."""
    return _too_many(_merged(shares, probability)[0], size)


def _too_many(weights: Sequence[float], size: int) -> bool:
    return bool(weights) and math.comb(size + len(weights) - 1, size) > MOST_COUNTED


def _merged(
    shares: Mapping[str, float], probability: Mapping[tuple[str, str], float]
) -> tuple[list[float], list[list[float]]]:
    """Return shares, and probabilities of each two, with types that reach all others alike put together."""
    names = [name for name, share in shares.items() if share]
    rows = {a: tuple(probability.get((a, b), probability.get((b, a), 0.0)) for b in names) for a in names}
    alike: dict[tuple[float, ...], list[str]] = {}
    for name in names:
        alike.setdefault(rows[name], []).append(name)
    first = [names.index(group[0]) for group in alike.values()]
    weights = [math.fsum(shares[name] for name in group) for group in alike.values()]
    return weights, [[row[place] for place in first] for row in alike]


def _terms(
    weights: Sequence[float], table: Sequence[Sequence[float]], left: int, counts: tuple[int, ...], so_far: float = 1.0
) -> Iterator[float]:
    """Yield the terms of the multinomial sum over how many of each type there are, without its size!."""
    number = len(counts)
    if not left or number == len(weights):
        if not left:
            yield so_far
        return
    reach = math.prod(table[number][other] ** count for other, count in enumerate(counts))
    term = so_far
    for count in range(left + 1):
        if count:
            # One more of this type: its share, its paths to all the others and to its own kind.
            term *= weights[number] / count * reach * table[number][number] ** (count - 1)
        if not term:
            return
        yield from _terms(weights, table, left - count, (*counts, count), term)


def _drawn(weights: Sequence[float], table: Sequence[Sequence[float]], size: int) -> float:
    rng = random.Random(f"groups of {size}")
    groups = (rng.choices(range(len(weights)), weights, k=size) for _ in range(DRAWN))
    return math.fsum(math.prod(table[a][b] for a, b in itertools.combinations(group, 2)) for group in groups) / DRAWN


def is_eim(access: Access) -> bool:
    """Tell whether a type's mapping is endpoint-independent as seen from outside, public hosts included."""
    return all(router.mapping in (NatMapping.NONE, NatMapping.EIM) for router in access.behaviours)


def maps_ports(access: Access) -> bool:
    """Tell whether a router of this type maps ports when asked, by whatever protocol."""
    return any(router.port_mapping for router in access.behaviours)


def with_eim_share(population: Population, eim: float) -> dict[str, float] | None:
    """Return the shares, scaled so that the types with endpoint-independent mapping together have the share `eim`.

    None where no such shares make up a whole: a population without types of the other kind has 1 or 0 alone.
    """
    total = math.fsum(access.share for access in population.access.values() if is_eim(access))
    rest = math.fsum(access.share for access in population.access.values() if not is_eim(access))
    if (eim and not total) or (eim != 1.0 and not rest):
        return None
    scaled = {}
    for name, access in population.access.items():
        of_kind, whole = (total, eim) if is_eim(access) else (rest, 1.0 - eim)
        scaled[name] = access.share / of_kind * whole if of_kind else 0.0
    return scaled
