"""Intervals of rates over pairs, by the harness and by the recomputation's own formulas."""

from __future__ import annotations

import random

import pytest

from harness.results.clusters import estimate
from tests.recompute.summary import _estimate

ROW = {"metric": "connect_success", "over": "pairs"}


@pytest.mark.parametrize("seed", range(8))
def test_the_interval_of_a_rate_over_pairs_is_that_of_its_trials(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(50):
        often = rng.random()
        values = {
            (f"t{trial}", str(pair)): float(rng.random() < likely)
            for trial in range(rng.randint(1, 12))
            for likely in [rng.choice([often, rng.random(), 0.0, 1.0])]
            for pair in range(rng.randint(1, 6))
        }
        found, said = (
            _estimate(ROW, values),
            estimate(ROW["metric"], [*values.values()], [trial for trial, _ in values]),
        )
        assert (found["ci_low"], found["ci_high"]) == pytest.approx((said.low, said.high), abs=1e-9), values
