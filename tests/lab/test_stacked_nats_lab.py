"""Stacked routers, real and simulated: the same datagrams, the same answers.

Which stacks and datagrams those are is drawn: always the same in CI, others for each day's commit in the night.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from harness.model.nat import parse_nat
from tests.lab.stack_lab import Step, differing_steps

pytestmark = [pytest.mark.lab, pytest.mark.waits]

LABS = 6
"""In one sandbox, one after the other: making it takes longer than a lab."""
HOMES = st.sampled_from(
    ["symmetric-sequential", "home-router", "full-cone", "address-restricted", "port-restricted", "symmetric"]
)


def possible(axes: dict[str, Any]) -> bool:
    """Whether a carrier may be so at all (`harness.model.nat_rules`)."""
    try:
        parse_nat(axes)
    except ValueError:
        return False
    return True


# Ports of a carrier may be drawn, by two generators: endpoints are compared by the order in which they first show.
CARRIERS = st.fixed_dictionaries(
    {
        "mapping": st.sampled_from(["EIM", "ADM", "APDM"]),
        "filtering": st.sampled_from(["EIF", "ADF", "APDF"]),
        "port_allocation": st.sampled_from(["random", "preserving", "sequential"]),
        "hairpinning": st.sampled_from(["off", "internal-source", "external-source"]),
    }
).filter(possible)
STACKS = st.fixed_dictionaries({"nat_a": HOMES, "nat_b": HOMES, "nat_carrier": st.one_of(st.just("cgn"), CARRIERS)})
# What goes out three times in ten, comes in four times, crosses from one subscriber to the other three times.
KINDS = st.sampled_from(["out"] * 3 + ["in"] * 4 + ["cross"] * 3)
STEPS = st.lists(st.tuples(KINDS, st.integers(0, 3), st.integers(0, 3)), min_size=25, max_size=40)
# The simplest sequences, which only go out, would be drawn first.
SEQUENCES = STEPS.filter(lambda steps: {what for what, _, _ in steps} == {"out", "in", "cross"})
NIGHTLY = os.environ.get("OVERLAYBENCH_NIGHTLY") == "1"


def seed_of_today() -> int:
    """Return the day of the commit as a number in the night, so that a failure can be drawn again; else always one."""
    if not NIGHTLY:
        return 1
    argv = ["git", "log", "-1", "--format=%cd", "--date=format:%Y%m%d"]
    done = subprocess.run(argv, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return int(done.stdout.strip() or 1)


SEED = seed_of_today()
CASES = st.lists(st.tuples(STACKS, SEQUENCES), min_size=LABS, max_size=LABS, unique_by=lambda case: str(case[0]))


@seed(SEED)
@settings(
    max_examples=4 if NIGHTLY else 1,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(cases=CASES)
def test_stacked_routers_and_the_simulated_internet_give_the_same_answers(
    cases: list[tuple[dict[str, Any], list[Step]]],
) -> None:
    found = differing_steps(cases)
    assert len(found) == len(cases)
    assert [(stack, wrong) for (stack, _), wrong in zip(cases, found, strict=True) if wrong] == [], f"seed {SEED}"
