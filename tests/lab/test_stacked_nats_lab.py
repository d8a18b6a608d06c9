"""Stacked routers, real and simulated: the same datagrams, the same answers."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.lab.stack_lab import Step, differing_steps

pytestmark = pytest.mark.lab

EIM = {"port_allocation": "random"}
STACKS: list[dict[str, Any]] = [
    {"nat_a": home_a, "nat_b": home_b, "nat_carrier": carrier}
    for home_a, home_b, carrier in (
        ("port-restricted", "full-cone", "cgn"),
        ("full-cone", "address-restricted", {"filtering": "ADF", **EIM, "hairpinning": "external-source"}),
        ("full-cone", "full-cone", {**EIM, "hairpinning": "internal-source"}),
        ("home-router", "symmetric", {**EIM, "hairpinning": "external-source"}),
        ("symmetric-sequential", "full-cone", "symmetric"),
        ("full-cone", "port-restricted", {"mapping": "ADM", "filtering": "EIF", **EIM}),
    )
]


def sequence(seed: int, length: int = 40) -> list[Step]:
    """Draw steps."""
    rng = random.Random(seed)
    kinds = ["out"] * 3 + ["in"] * 4 + ["cross"] * 3
    return [(rng.choice(kinds), rng.randrange(4), rng.randrange(4)) for _ in range(length)]


def test_stacked_routers_and_the_simulated_internet_give_the_same_answers() -> None:
    cases = [(stack, sequence(seed)) for seed, stack in enumerate(STACKS)]
    found = differing_steps(cases)
    assert len(found) == len(cases)
    assert {str(stack): wrong for stack, wrong in zip(STACKS, found, strict=True) if wrong} == {}
