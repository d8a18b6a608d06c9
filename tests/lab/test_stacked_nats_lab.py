"""Stacked routers, real and simulated: the same datagrams, the same answers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.lab.stack_lab import Step, differing_steps

pytestmark = [pytest.mark.lab, pytest.mark.waits]

LABS = 6
"""In one sandbox, one after the other: making it takes longer than a lab."""
HOMES = st.sampled_from(
    ["symmetric-sequential", "home-router", "full-cone", "address-restricted", "port-restricted", "symmetric"]
)
# Ports of a carrier are drawn, by two generators: endpoints are compared by the order in which they first show.
CARRIERS = st.fixed_dictionaries(
    {
        "mapping": st.sampled_from(["EIM", "ADM", "APDM"]),
        "filtering": st.sampled_from(["EIF", "ADF", "APDF"]),
        "port_allocation": st.just("random"),
        "hairpinning": st.sampled_from(["off", "internal-source", "external-source"]),
    }
)
STACKS = st.fixed_dictionaries({"nat_a": HOMES, "nat_b": HOMES, "nat_carrier": st.one_of(st.just("cgn"), CARRIERS)})
# What goes out three times in ten, comes in four times, crosses from one subscriber to the other three times.
KINDS = st.sampled_from(["out"] * 3 + ["in"] * 4 + ["cross"] * 3)
STEPS = st.lists(st.tuples(KINDS, st.integers(0, 3), st.integers(0, 3)), min_size=25, max_size=40)
# The simplest sequences, which only go out, would be drawn first.
SEQUENCES = STEPS.filter(lambda steps: {what for what, _, _ in steps} == {"out", "in", "cross"})
CASES = st.lists(st.tuples(STACKS, SEQUENCES), min_size=LABS, max_size=LABS, unique_by=lambda case: str(case[0]))


@settings(
    max_examples=1, deadline=None, derandomize=True, phases=(Phase.generate,), suppress_health_check=list(HealthCheck)
)
@given(cases=CASES)
def test_stacked_routers_and_the_simulated_internet_give_the_same_answers(
    cases: list[tuple[dict[str, Any], list[Step]]],
) -> None:
    found = differing_steps(cases)
    assert len(found) == len(cases)
    assert [(stack, wrong) for (stack, _), wrong in zip(cases, found, strict=True) if wrong] == []
