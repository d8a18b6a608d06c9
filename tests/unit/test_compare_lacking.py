"""Two runs compared of which one lacks figures that the other has: every such figure is listed, compared or not."""

from __future__ import annotations

import pandas as pd
import pytest
from compared_runs import run_of

from harness.report.comparison import remarks, to_json
from harness.results.compare import COMPARED, compare


def without(run: pd.DataFrame, metric: str, repeats: int) -> pd.DataFrame:
    """Take a metric of nebula away from the first trials of each cell."""
    gone = (run["overlay"].astype(str) == "nebula") & (run["metric"].astype(str) == metric) & (run["repeat"] < repeats)
    assert gone.any()
    return run[~gone]


def renamed(run: pd.DataFrame, old: str, name: str) -> pd.DataFrame:
    return run.assign(metric=run["metric"].astype(str).replace(old, name))


def made(repeats: int, seed: int) -> pd.DataFrame:
    run = run_of(repeats, seed=seed)
    return run[(run["overlay"].astype(str) == "nebula") & (run["nat_a"].astype(str) == "full-cone")]


@pytest.mark.parametrize("metric", ["concurrent_jain_index", "underlay_rtt_p50_ms", "a_metric_of_an_extension"])
def test_a_figure_that_some_trials_lost_is_listed(metric: str) -> None:
    """Four of ten trials without a fairness figure: the six that have one were compared, and nothing was said."""
    base, new = (renamed(made(10, seed), "tcp_throughput_mbit", metric) for seed in (1, 2))
    told = f"nebula mesh (3 cells): {metric} in 10 of 10 trials of the base and 6 of 10 of the new run"
    found = compare(base, without(new, metric, 4))
    assert found.lacking == (told,)
    assert f"measured in some trials only: {told}" in remarks(found)
    assert to_json(found)["lacking"] == [told]
    other = compare(without(new, metric, 4), base)
    told = f"nebula mesh (3 cells): {metric} in 6 of 10 trials of the base and 10 of 10 of the new run"
    assert other.lacking == (told,)


def test_what_one_run_has_nowhere_is_listed_once() -> None:
    for metric in ("tcp_throughput_mbit", "a_metric_of_an_extension"):
        base, new = (renamed(made(3, seed), "tcp_throughput_mbit", metric) for seed in (1, 2))
        found = compare(base, without(new, metric, 3))
        lines = [line for line in (*found.matching.only_base, *found.lacking) if metric in line]
        assert len(lines) == 1 and "nebula mesh (3 cells)" in lines[0], lines
        assert (metric in COMPARED) == (lines[0] in found.matching.only_base)


def test_runs_that_lack_the_same_or_by_chance_list_nothing() -> None:
    base, new = made(10, 1), made(10, 2)
    assert compare(base, new).lacking == ()
    few = [without(run, "tcp_throughput_mbit", count) for run, count in ((base, 4), (new, 5))]
    assert compare(*few).lacking == ()
    many = compare(without(base, "tcp_throughput_mbit", 1), without(new, "tcp_throughput_mbit", 8))
    assert [line.split(": ")[1] for line in many.lacking] == [
        "tcp_throughput_mbit in 9 of 10 trials of the base and 2 of 10 of the new run"
    ]


def test_a_time_that_never_came_is_a_figure_and_what_was_not_asked_is_not_missed() -> None:
    base, new = made(10, 1), made(10, 2)
    late = (new["metric"].astype(str) == "time_to_direct_s") & (new["overlay"].astype(str) == "nebula")
    assert compare(base, new.assign(value=new["value"].where(~late))).lacking == ()
    lost = without(new, "tcp_throughput_mbit", 4)
    assert compare(base, lost, without=["tcp_throughput_mbit"]).lacking == ()


def meshed(run: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return one pair of NATs, each trial with a third member, whose rate from the first is the second one's."""
    kept = run["metric"].isin([metric, "duration_s"]) & (run["nat_b"].astype(str) == "full-cone")
    run = run[kept].astype({"src": object, "dst": object})
    first = run[(run["metric"] == metric) & (run["src"] == "a")]
    assert len(first)
    return pd.concat([run, first.assign(dst="c")], ignore_index=True)


def of_pair(run: pd.DataFrame, metric: str, *, third: bool) -> pd.Series:
    return (run["metric"] == metric) & ((run["dst"] == "c") == third)


@pytest.mark.parametrize("metric", ["tcp_throughput_mbit", "a_metric_of_an_extension"])
def test_pairs_are_told_apart_in_both_runs_or_in_neither(metric: str) -> None:
    """Where one run had lost all of a pair, the other pair was "in 10 of 10" there and "in 0 of 10" of the base."""
    base, new = (meshed(renamed(made(10, seed), "tcp_throughput_mbit", metric), metric) for seed in (1, 2))
    lost = new[~of_pair(new, metric, third=True)]
    half = lost[~(of_pair(lost, metric, third=False) & (lost["repeat"] < 6))]
    full = [line for line in compare(base, lost).lacking if metric in line]
    assert all("a - c" in line and "10 of 10 trials of the base and 0 of 10" in line for line in full)
    assert len(full) == (metric not in COMPARED)
    lines = [line for line in compare(base, half).lacking if metric in line]
    assert [line for line in lines if "10 of 10 trials of the base and 4 of 10 of the new run" in line], lines
    assert len(lines) == len(full) + 1


def test_each_run_has_one_pair_and_not_the_same() -> None:
    metric = "a_metric_of_an_extension"
    base, new = (meshed(renamed(made(10, seed), "tcp_throughput_mbit", metric), metric) for seed in (1, 2))
    one, other = base[~of_pair(base, metric, third=True)], new[~of_pair(new, metric, third=False)]
    assert len(compare(one, other).lacking) == 2
    elsewhere = other.assign(topology="another")
    assert compare(one, elsewhere).lacking == (), "members of another topology have other names"


def test_what_was_lost_everywhere_is_told_first_then_what_is_least_by_chance() -> None:
    base, new = made(10, 1), made(10, 2)
    names = ["a_extension", "b_extension", "c_extension"]
    for metric in names:
        base, new = (
            pd.concat([run, renamed(run[run["metric"] == "tcp_throughput_mbit"], "tcp_throughput_mbit", metric)])
            for run in (base, new)
        )
    for metric, lost in zip(names, (2, 6, 10), strict=True):
        new = without(new, metric, lost)
    found = compare(base, new)
    assert [line.split(": ")[1].split()[0] for line in found.lacking] == names[::-1]
