"""Which host runs which block: every condition is seen by several, whoever is busy when."""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from pathlib import Path

import pytest
from pool_runs import plan

from harness.hosts.placement import Placement
from harness.model.trial import Trial


def hosts_of_conditions(trials: list[Trial], placement: Placement, pace: dict[str, float], seed: int) -> list[set[str]]:
    """Run trials that take a random while, longer on a slow host; return which hosts saw each condition."""
    rng, now, waiting = random.Random(seed), 0.0, list(trials)
    running: list[tuple[float, int, Trial]] = []
    seen, block = defaultdict(set), defaultdict(set)
    while waiting or running:
        while (trial := placement.choose(waiting)) is not None:
            waiting.remove(trial)
            host = placement.host_of(trial.id)
            assert host is not None
            seen[trial.cell["nat_a"], trial.cell["nat_b"]].add(host)
            block[trial.seed].add(host)
            heapq.heappush(running, (now + (0.1 + rng.expovariate(1)) * pace[host], len(waiting), trial))
        now, _, ended = heapq.heappop(running)
        placement.leave(ended.id)
    assert {len(hosts) for hosts in block.values()} == {1}
    return list(seen.values())


@pytest.mark.parametrize(("hosts", "slots", "repeats"), [(2, 4, 2), (2, 1, 2), (2, 4, 3), (3, 2, 3), (4, 2, 4)])
def test_equal_hosts_see_a_condition_as_often_as_it_is_repeated(
    tmp_path: Path, hosts: int, slots: int, repeats: int
) -> None:
    trials, pace = plan(tmp_path, repeats).trials, {f"h{n}": 1.0 for n in range(hosts)}
    for seed in range(10):
        found = hosts_of_conditions(trials, Placement(dict.fromkeys(pace, slots)), pace, seed)
        assert {len(one) for one in found} >= {min(hosts, repeats)} and min(map(len, found)) >= 2


@pytest.mark.parametrize("repeats", [2, 3, 6])
def test_a_slow_host_sees_every_condition_too(tmp_path: Path, repeats: int) -> None:
    trials, pace = plan(tmp_path, repeats).trials, {"quick": 1.0, "slow": 20.0}
    for seed in range(10):
        found = hosts_of_conditions(trials, Placement(dict.fromkeys(pace, 4)), pace, seed)
        assert len(found) == 6 and {len(one) for one in found} == {2}


def test_nothing_is_kept_for_a_host_that_is_down(tmp_path: Path) -> None:
    trials = plan(tmp_path, 2).trials
    placement = Placement({"one": 4, "two": 4})
    placement.down("two")
    found = hosts_of_conditions(trials, placement, {"one": 1.0}, 1)
    assert found == [{"one"}] * 6
