"""Two runs of meshes compared: what one pair of members lost is found and named, and no other pair hides it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from result_samples import Maker
from scipy import stats

from harness.results.changes import Change, Rule, reaches
from harness.results.compare import Comparison, compare, compare_samples
from harness.results.frame import records_frame
from harness.results.matching import Sample
from harness.results.ranks import Cell
from harness.results.record import Record

# What a pair has in a trial: its path and its round-trip time.
Seen = Callable[[str, str, int], tuple[str, float]]
WHERE = "no NAT x no NAT"


def run(name: str, members: int, trials: int, seen: Seen) -> pd.DataFrame:
    maker, records = Maker(name), list[Record]()
    for trial in range(trials):
        same = {"trial": f"t{trial}", "repeat": trial, "seed": trial, "topology": "parties"}
        for src, dst in combinations([f"p{number}" for number in range(1, members + 1)], 2):
            path, rtt_ms = seen(src, dst, trial)
            pair = same | {"src": src, "dst": dst, "path": path}
            rtt_ms *= 1 + 0.001 * ((7 * trial + int(dst[1:])) % 10)
            records.append(maker.one("path", "connect_success", "1", 1.0, **pair))
            records.append(maker.one("path", "hole_punch_success", "1", float(path == "direct"), **pair))
            records.append(maker.one("latency", "rtt_p50_ms", "ms", rtt_ms, **pair | {"path": None}))
        records.append(maker.one("trial", "duration_s", "s", 5.0, **same))
    return records_frame([record.as_dict() for record in records])


def change_in(found: Comparison, metric: str) -> Change:
    (change,) = [one for one in found.changes if one.metric == metric]
    return change


def one_direct(direct_ms: float) -> Seen:
    """One pair of three is direct in every trial."""
    return lambda src, dst, _: ("direct", direct_ms) if (src, dst) == ("p1", "p2") else ("relayed", 40.0)


def test_a_direct_path_that_got_three_times_as_slow_is_no_longer_hidden_by_relayed_ones() -> None:
    """The median over three pairs was 40.08 ms before and after: "too small to matter"."""
    change = change_in(compare(run("a", 3, 20, one_direct(3.0)), run("b", 3, 20, one_direct(9.0))), "rtt_p50_ms")
    assert (change.verdict, change.named) == ("regression", (f"{WHERE}, p1 - p2",))
    assert {cell.cell: (round(cell.base), round(cell.new)) for cell in change.cells} == {
        f"{WHERE}, p1 - p2": (3, 9),
        f"{WHERE}, p1 - p3": (40, 40),
        f"{WHERE}, p2 - p3": (40, 40),
    }
    assert (round(change.change, 6), change.low, change.high) == (
        0.0,
        pytest.approx(0, abs=0.5),
        pytest.approx(0, abs=0.5),
    )


def without(pairs: set[tuple[str, str]]) -> Seen:
    return lambda src, dst, _: ("relayed", 40.0) if (src, dst) in pairs else ("direct", 3.0)


@pytest.mark.parametrize(("members", "lost"), [(7, {("p1", "p2"), ("p3", "p6")}), (5, {("p2", "p4")})])
def test_pairs_that_were_lost_in_all_trials_are_found_and_named(members: int, lost: set[tuple[str, str]]) -> None:
    """2 of 21 pairs were -0.095, and 1 of 10 is -0.0999... in floating point: both were "too small to matter"."""
    base, new = run("a", members, 10, without(set())), run("b", members, 10, without(lost))
    change = change_in(compare(base, new), "hole_punch_success")
    assert change.verdict == "regression"
    assert set(change.named) == {f"{WHERE}, {src} - {dst}" for src, dst in lost}
    assert change.new == pytest.approx(1 - len(lost) / (members * (members - 1) / 2))


def test_a_tenth_is_a_tenth_in_floating_point() -> None:
    assert abs(0.9 - 1.0) < 0.1 and reaches(0.9 - 1.0, 0.1)
    assert not reaches(0.0999, 0.1) and reaches(-0.2, 0.1)


def mixed(direct: int, direct_ms: float = 3.0) -> Seen:
    """One pair is direct in so many of 20 trials, the others always relayed."""

    def seen(src: str, dst: str, trial: int) -> tuple[str, float]:
        return ("direct", direct_ms) if (src, dst) == ("p1", "p2") and trial < direct else ("relayed", 40.0)

    return seen


def test_what_a_path_of_a_pair_costs_is_compared_with_the_same_path() -> None:
    change = change_in(compare(run("a", 3, 20, mixed(10)), run("b", 3, 20, mixed(10, 9.0))), "rtt_p50_ms")
    assert (change.verdict, change.named) == ("regression", (f"{WHERE}, p1 - p2, direct",))
    fewer = compare(run("a", 3, 20, mixed(18)), run("b", 3, 20, mixed(6)))
    assert change_in(fewer, "rtt_p50_ms").verdict == "no difference found"
    assert change_in(fewer, "hole_punch_success").verdict == "regression"


def test_a_path_that_one_run_alone_took_is_listed() -> None:
    found = compare(run("a", 3, 20, mixed(20)), run("b", 3, 20, mixed(10)))
    assert found.matching.only_new == [f"refmesh mesh ({WHERE}, p1 - p2, relayed): rtt_p50_ms"]
    assert change_in(found, "rtt_p50_ms").verdict == "no difference found"


def test_pairs_that_share_their_trials_raise_no_more_false_alarms() -> None:
    """Ten pairs whose trials are slow together, without a minimum effect: the test alone must keep its promise."""
    rng = np.random.default_rng(7)
    pairs, trials = 10, 20
    numbers = np.repeat(np.arange(trials), pairs)
    names = tuple(f"pair {number}" for number in range(pairs))
    alarms, comparisons = 0, 300
    for _ in range(comparisons):
        values = 20 + rng.normal(0, 1, trials)[numbers] + rng.normal(0, 0.3, numbers.size)
        cell = Cell("c", values, numbers, np.tile(np.arange(pairs), trials), numbers >= trials // 2, names)
        (change,) = compare_samples([Sample("s", "rtt_p50_ms", "ms", (cell,))], Rule(min_effect=0))
        alarms += change.verdict == "regression"
    # Of alpha (0.05) a quarter is for changes for the worse.
    assert stats.binomtest(alarms, comparisons, 0.0125, alternative="greater").pvalue > 0.001
