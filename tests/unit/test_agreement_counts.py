"""What of simulated worlds counts when engine, algebra and lab are held together."""

from __future__ import annotations

from itertools import pairwise

import pytest
from result_samples import Maker
from scipy import stats

from harness.results.agreement import counts_of
from harness.results.counts import Count, of_two, with_probability
from harness.results.frame import records_frame


def test_a_world_in_which_the_harness_failed_is_no_failure_of_the_engine() -> None:
    maker, records = Maker(), []
    for size, names in ((2, ("a", "b")), (3, ("a", "b", "c"))):
        for number in range(10):
            params = {"group": size, "technique": "full", "port_mapping": False, "ipv6": False}
            outcome = "ok" if number < 5 else "error"
            same = {"trial": f"{size}-{number}", "params": params, "engine": "simulated", "outcome": outcome}
            for src, dst in pairwise(names):
                pair = {src: {"access": "x"}, dst: {"access": "y"}}
                value = 1.0 if outcome == "ok" else None
                records.append(maker.one("path", "hole_punch_success", "1", value, src=src, dst=dst, pair=pair, **same))
            records.append(maker.one("trial", "duration_s", "s", 1.0, **same))
    frame = records_frame([record.as_dict() for record in records])
    counted = counts_of([frame])
    assert list(counted.cells.values()) == [Count(5, 5)]
    assert list(counted.groups.values()) == [Count(5, 5)]


def test_a_pair_counts_from_the_time_at_which_it_was_direct_if_it_is_at_the_end() -> None:
    maker, records = Maker(), []
    pair = {"src": "a", "dst": "b", "pair": {"a": {"access": "x"}, "b": {"access": "y"}}, "engine": "simulated"}
    params = {"group": 2, "technique": "full", "port_mapping": False, "ipv6": False}
    ends = [(0.5, 1.0), (1.0, 1.0), (1.1, 1.0), (4.0, 1.0), (0.5, 0.0), (None, 0.0), (None, 1.0)]
    for number, (since_s, success) in enumerate(ends):
        same = {"trial": f"t{number}", "params": params, **pair}
        # A world of three says nothing of pairs.
        for size in (2, 3):
            of_size = same | {"trial": f"t{number}-{size}", "params": params | {"group": size}}
            records.append(maker.one("path", "time_to_direct_s", "s", since_s, **of_size))
            records.append(maker.one("path", "hole_punch_success", "1", success, **of_size))
            records.append(maker.one("trial", "duration_s", "s", 1.0, **of_size))
    frame = records_frame([record.as_dict() for record in records])
    counted = counts_of([frame, frame], (1.0, 2.0, 5.0))
    assert list(counted.cells.values()) == [Count(10, 14)]
    assert [list(of.values()) for of in counted.within.values()] == [[Count(4, 14)], [Count(6, 14)], [Count(8, 14)]]


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ((3, 3), (30, 100), "cannot tell"),
        ((0, 1), (1, 1), "cannot tell"),
        ((50, 100), (99, 100), "differ"),
        ((10, 30), (1, 30), "differ"),
        ((30, 30), (100, 100), "agree"),
        ((30, 30), (1000, 1000), "agree"),
        ((250, 500), (260, 500), "agree"),
        # Of five or six runs with a rate of 0.8 all succeed in 33 and 26 %: a power of 0.67 and 0.74.
        ((1000, 1000), (5, 5), "cannot tell"),
        ((1000, 1000), (6, 6), "cannot tell"),
        ((1000, 1000), (8, 8), "agree"),
    ],
)
def test_two_rates_agree_only_where_a_difference_would_have_been_seen(
    one: tuple[int, int], other: tuple[int, int], said: str
) -> None:
    assert of_two(Count(*one), Count(*other)) == of_two(Count(*other), Count(*one)) == said


@pytest.mark.parametrize(
    ("count", "expected", "said"),
    [
        ((3, 3), 0.3, "cannot tell"),
        ((3, 3), 1.0, "cannot tell"),
        ((9, 9), 1.0, "agree"),
        ((9, 9), 0.3, "differ"),
        ((995, 1000), 1.0, "differ"),
        ((64, 100), 0.64, "agree"),
    ],
)
def test_a_rate_agrees_with_what_is_expected_only_where_another_would_have_been_seen(
    count: tuple[int, int], expected: float, said: str
) -> None:
    assert with_probability(Count(*count), expected) == said


def test_the_exact_test_is_that_of_scipy() -> None:
    for runs, probability in ((7, 0.3), (30, 0.64), (50, 0.5), (12, 1.0), (12, 0.0)):
        said = [with_probability(Count(k, runs), probability) == "differ" for k in range(runs + 1)]
        assert said == [stats.binomtest(k, runs, probability).pvalue < 0.01 for k in range(runs + 1)]
