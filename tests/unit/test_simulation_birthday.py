"""Birthday probing in the algebra is what the engine does: between whom, and how many ports by when."""

from __future__ import annotations

import itertools

import pytest

from harness.scenario.load import POPULATIONS
from harness.simulation.contract import engines
from harness.simulation.describe import described
from harness.simulation.load import load_population
from overlays.refmesh.core import punching
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


def test_an_engine_says_whether_it_guesses_there() -> None:
    assert not engines()["refmesh"].guesses_both
