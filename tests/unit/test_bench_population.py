"""The benchmark of 10^5 peers, on a handful of worlds, and what the algebra may take."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bench.population import GOALS_S, MOMENTS, NAMES, judged, measured, resident_mib
from harness.scenario.load import POPULATIONS
from harness.simulation.algebra import expected_cells, level_of, pair_success
from harness.simulation.contract import engines
from harness.simulation.load import load_population
from harness.simulation.plan import Plan


def test_all_pairs_of_a_hundred_thousand_peers_are_summed_in_below_a_second() -> None:
    """A thousandth of it as measured, so only work that grows with the peers comes near the bound."""
    population = load_population("hundred-thousand", POPULATIONS).population
    (condition,) = Plan(population).conditions
    began = time.process_time()
    cells = expected_cells(population, condition, level_of(engines()["refmesh"], population))
    assert 0.5 < pair_success(cells) < 1.0
    assert time.process_time() - began < 1.0


def test_each_moment_has_its_time_and_its_memory(tmp_path: Path) -> None:
    found = measured(NAMES[0], 0.2, 1, tmp_path)
    assert (found["worlds"], found["peers"]) == (29 * 3, 29 * 6)
    moments = [*(f"{percent} %" for percent in MOMENTS), "all worlds", "end, with the page"]
    assert [name for name in found if name in moments] == moments
    times = [found[name]["wall_s"] for name in moments]
    assert times == sorted(times) and times[0] < times[2]
    assert "goal_s" not in found, "a few worlds tell nothing of how long all take"
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    assert resident_mib() >= 0.5 * pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.parametrize("name", NAMES)
def test_a_time_goal_is_judged_where_all_worlds_were_run_and_only_there(name: str) -> None:
    goal_s = GOALS_S[name]
    assert judged(name, 100, 2, goal_s) == {"goal_s": goal_s, "goal_met": True}
    assert judged(name, 100, 2, goal_s + 1) == {"goal_s": goal_s, "goal_met": False}
    for share, jobs in ((10, 2), (99.9, 2), (100, 1), (100, 16)):
        assert judged(name, share, jobs, 1.0) == judged(name, share, jobs, 1e6) == {}
