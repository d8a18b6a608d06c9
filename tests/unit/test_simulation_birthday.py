"""Birthday probing in the algebra is what the engine does: between whom, and how many ports by when."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest

from harness.nat.oracle import expected_path
from harness.results.counts import Count, with_probability
from harness.scenario.load import POPULATIONS
from harness.simulation.algebra import expected_cell, expected_cells, level_of
from harness.simulation.contract import Abilities, engines
from harness.simulation.describe import described
from harness.simulation.internet import Internet
from harness.simulation.load import load_population
from harness.simulation.plan import Plan
from harness.simulation.population import Access, AccessLink, Population, Sweep
from harness.simulation.world import run_world
from overlays.refmesh.core import punching
from overlays.refmesh.simulation.engine import NETWORKS, RefmeshNetwork
from overlays.refmesh.wire.bodies import Punch

DEPENDENT = ("symmetric", "symmetric-sequential")


@pytest.mark.parametrize(("own", "theirs"), list(itertools.product((False, True), repeat=2)))
def test_the_engine_opens_and_tries_no_random_ports_where_both_mappings_depend_on_the_destination(
    own: bool, theirs: bool
) -> None:
    """`own`, `theirs`: whether that side hands out its ports in sequence."""
    for number in range(1, punching.ROUNDS + 1):
        ports = {0: 40000, 1: 40001, 2: 40002} if own else {0: 40000, 1: 50123, 2: 31007}
        told = Punch(1, number, ask=True, dependent=True, host="45.9.9.9", ports=[41003, 41004] if theirs else [])
        mine = punching.Round(number=number, ports=ports, theirs=told)
        planned = punching.plan(mine, dependent=True, reflexive=[("45.9.9.9", 41000)])
        assert planned.fresh_sockets <= 1
        assert not planned.birthday_host


@pytest.mark.parametrize("name", ["hundred-thousand", "nat-matrix"])
def test_the_algebra_expects_no_luck_there_either(name: str) -> None:
    loaded = load_population(name, POPULATIONS)
    (condition,) = (each for each in described(loaded)["conditions"] if each["params"]["technique"] == "birthday")
    expected = {(cell["first"], cell["second"]): cell["expected"] for cell in condition["cells"]}
    of_both = {pair: value for pair, value in expected.items() if set(pair) <= set(DEPENDENT)}
    assert len(of_both) == 3
    assert of_both.pop(("symmetric-sequential",) * 2) == 1.0, "each foretells the other's port"
    assert set(of_both.values()) == {0.0}


def test_either_host_has_the_lower_key_in_each_of_the_networks() -> None:
    """Who has it asks for rounds of punching, so worlds of a cell would share sixteen draws of the roles."""
    engine, seen = engines()["refmesh"], Counter()
    for seed in range(400):
        rng = random.Random(seed)
        internet = Internet(rng)
        hosts = [internet.host(None, lambda *_: None) for _ in range(2)]
        network = engine.network(internet, hosts, rng, Abilities("birthday"), "cheap")
        assert isinstance(network, RefmeshNetwork)
        seen[frozenset(network._keys), network._keys[0] < network._keys[1]] += 1
    assert len({keys for keys, _ in seen}) == NETWORKS
    assert len(seen) == 2 * NETWORKS


def test_an_engine_says_whether_it_guesses_there() -> None:
    assert not engines()["refmesh"].guesses_both


@pytest.mark.parametrize(("first_ms", "second_ms", "server_ms"), [(10, 10, 10), (20, 40, 5)])
def test_ports_tried_by_a_deadline_are_those_that_the_engine_has_tried(
    first_ms: float, second_ms: float, server_ms: float
) -> None:
    """One run tells of all shorter deadlines; each is held against the algebra's own."""
    access = {
        "strict": Access(share=0.5, routers=("port-restricted",), link=AccessLink(delay_ms=first_ms)),
        "symmetric": Access(share=0.5, routers=("symmetric",), link=AccessLink(delay_ms=second_ms)),
    }
    sweep = Sweep(technique=("birthday",))
    population = Population(
        description="by when", access=access, matrix=sweep, deadline_s=3, server=AccessLink(delay_ms=server_ms)
    )
    engine, plan = engines()["refmesh"], Plan(population)
    took = [
        pair.direct_s
        for world in plan
        if world.names == ("strict", "symmetric")
        for pair in run_world(plan.spec(world), engine).pairs
    ]
    assert len(took) == 100
    between = []
    for deadline_s in (1.5, 1.75, 2.0, 2.25, 2.5, 3.0):
        level = level_of(engine, population.model_copy(update={"deadline_s": deadline_s}))
        cells = expected_cells(population, plan.conditions[0], level)
        (expected,) = (cell.probability for cell in cells if {cell.cell.first, cell.cell.second} == set(access))
        direct = sum(each is not None and each <= deadline_s for each in took)
        between.append(0.05 < expected < 0.95)
        assert with_probability(Count(direct, 100), expected) == "agree", (deadline_s, direct, expected)
    assert sum(between) >= 3, "where all or none is direct, any number of tries agrees"


@pytest.mark.parametrize("deadline_s", [2.0, 2.25, 2.5])
def test_the_algebra_takes_the_mean_of_probabilities_and_not_that_of_a_mean_of_tries(deadline_s: float) -> None:
    """Each further port adds less, so the probability of a mean number of tries is larger, here by up to a point."""
    access = {
        name: Access(share=0.5, routers=(name,), link=AccessLink(delay_ms=delay_ms))
        for name, delay_ms in (("port-restricted", 20), ("symmetric", 40))
    }
    sweep = Sweep(technique=("birthday",))
    population = Population(
        description="by when", access=access, matrix=sweep, deadline_s=deadline_s, server=AccessLink(delay_ms=5)
    )
    engine, (condition,) = engines()["refmesh"], Plan(population).conditions
    one, other = access.values()
    level = level_of(engine, population).between(one.link, other.link)
    assert len(set(level.tried_ports)) > 1, "else there is nothing to take a mean of"

    def probability(tried: int) -> float:
        found = expected_path(
            one.behaviours, other.behaviours, "birthday", opened_ports=level.opened_ports, tried_ports=tried
        )
        return found.probability

    mean = sum(map(probability, level.tried_ports)) / len(level.tried_ports)
    found = expected_cell(one, other, 0, condition, level_of(engine, population))
    assert found.probability == pytest.approx(mean)
    of_mean = probability(round(sum(level.tried_ports) / len(level.tried_ports)))
    assert 0.001 < of_mean - found.probability < 0.01
