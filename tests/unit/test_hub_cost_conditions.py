"""What a hub costs, where conditions, failures and few or unlike repeats could be told as what they are not."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from test_hub_cost import HUB, MESH, Runs, judged

from harness.report.hubcost_tables import cost_table, crossover_table, outage_table
from harness.report.hubcost_words import bottleneck, crossover, single_point
from harness.report.plots.hubcost import outage_plots
from harness.results.hubcost import computations, costs, crossovers
from harness.results.outages import outages, shares_over_time
from harness.results.record import Record


def other(runs: Runs, count: int, **params: object) -> None:
    """Move the last records to another condition, in which seeds are others as well."""
    for at in range(-count, 0):
        one = runs.records[at].as_dict()
        more = {"params": one["params"] | params, "trial": f"{one['trial']}-{params}", "seed": one["seed"] + 10**6}
        runs.records[at] = Record(**(one | more))


def failed(runs: Runs) -> None:
    """Let the last trial fail."""
    runs.records[-1] = Record(**(runs.records[-1].as_dict() | {"outcome": "failed"}))


@pytest.mark.parametrize("hub_s", [[0.9, 1.0, 8.0, 9.0, 7.5, 6.0], [0.97] * 2 + [30.0] * 6])
def test_that_a_cost_was_not_found_for_certain_refutes_nothing(hub_s: list[float | None]) -> None:
    cost, sentences = judged(hub_s, [1.0] * len(hub_s))
    assert cost.ratio.low < 1 < cost.ratio.value and cost.judgement == "undecided"
    assert "refuted" not in sentences[0]
    assert "is not decided: every interval contains both no cost and a cost above 10 %" in sentences[0]
    assert cost_table([cost]).rows[0][-1] == "not decided: interval too wide"


def test_a_crossover_that_hangs_on_an_undecided_cell_is_open() -> None:
    runs = Runs()
    for n, hub_s in ((2, [1.0] * 6), (7, [0.9, 1.0, 8.0, 9.0, 7.5, 6.0])):
        for repeat, time_s in enumerate(hub_s):
            runs.trial(MESH, n, 4, repeat, bulk_completion_s=1.0)
            runs.trial(HUB, n, 4, repeat, bulk_completion_s=time_s)
    found = crossovers(costs(computations(runs.frame)))
    _, sentence = crossover(found)
    assert sentence == "bulk: 1 case is not decided."
    assert crossover_table(found).rows[0][-2:] == ("-", "not decided")


def test_what_else_was_varied_is_not_pooled() -> None:
    runs = Runs()
    for nat, times in (("open", 1.0), ("symmetric", 3.0)):
        for repeat in range(6):
            runs.trial(MESH, 4, 4, repeat, bulk_completion_s=1.0)
            runs.trial(HUB, 4, 4, repeat, bulk_completion_s=times)
            other(runs, 4, nat=nat)
    found = {cost.hub.besides: (cost.ratio.value, cost.ratio.n) for cost in costs(computations(runs.frame))}
    assert found == {"nat=open": (1.0, 6), "nat=symmetric": (3.0, 6)}
    assert "nat=symmetric" in cost_table(costs(computations(runs.frame))).rows[1][1]


def test_a_trial_that_failed_before_it_computed_never_completed() -> None:
    runs = Runs()
    for repeat in range(10):
        runs.trial(MESH, 4, 4, repeat, bulk_completion_s=1.0)
        if repeat < 3:
            runs.trial(HUB, 4, 4, repeat, bulk_completion_s=1.01)
        else:
            runs.trial(HUB, 4, 4, repeat)
            failed(runs)
    (cost,) = costs(computations(runs.frame))
    assert cost.ratio.n == 10 and math.isinf(cost.ratio.value) and cost.judgement == "slower"


def test_a_trial_that_failed_of_what_nobody_computed_is_none_of_it() -> None:
    runs = Runs()
    runs.trial(HUB, 4, 4, 0)
    failed(runs)
    assert computations(runs.frame).empty


def test_how_many_cells_would_be_slower_by_chance_is_said() -> None:
    runs = Runs()
    for n in range(2, 42):
        for repeat in range(6):
            for subject in (MESH, HUB):
                runs.trial(subject, n, 4, repeat, bulk_completion_s=1.0 + 0.01 * (subject == HUB and n % 8 == 0))
    sentence = bottleneck(costs(computations(runs.frame)))[0]
    assert "in 5 of 40 comparisons" in sentence
    assert "If no server cost anything, about 1 of 40 would be found slower by chance." in sentence
    assert "by chance" not in judged([3.0] * 6, [1.0] * 6)[1][0], "one cell"


@pytest.mark.parametrize("hub_s", [[1.0, 1.05], [3.0, 3.1], [0.5, 0.6, 0.5], [None, None, None], [3.0] * 5])
def test_fewer_repeats_than_have_an_interval_decide_nothing_and_their_range_is_shown(hub_s: list[float | None]) -> None:
    cost, (first, _) = judged(hub_s, [1.0] * len(hub_s))
    assert cost.judgement == "undecided"
    assert first == (
        "Whether a central server is a bottleneck is not decided: "
        f"{len(hub_s)} repeats give no 95 % interval, which takes 6."
    )
    assert cost_table([cost]).rows[0][-1] == "not decided: too few repeats"
    assert ("[" in cost_table([cost]).rows[0][5]) == (len(set(hub_s)) > 1)
    assert "true median with a probability of 50 % (2 trials), 75 % (3 trials)" in cost_table([cost]).note


def test_decided_cells_do_not_vouch_for_those_of_few_repeats() -> None:
    runs = Runs()
    for n, repeats in ((4, 6), (7, 2)):
        for repeat in range(repeats):
            runs.trial(MESH, n, 4, repeat, bulk_completion_s=1.0)
            runs.trial(HUB, n, 4, repeat, bulk_completion_s=3.0)
    said = bottleneck(costs(computations(runs.frame)))[0]
    assert "in 1 of 2 comparisons" in said
    assert said.endswith("1 is not decided because there are fewer than 6 repeats, and so no 95 % interval.")


def test_each_undecided_comparison_has_its_own_reason() -> None:
    runs = Runs()
    for n, hub_s in ((2, [3.0] * 6), (4, [3.0] * 2), (7, [0.9, 1.0, 8.0, 9.0, 7.5, 6.0])):
        for repeat, time_s in enumerate(hub_s):
            runs.trial(MESH, n, 4, repeat, bulk_completion_s=1.0)
            runs.trial(HUB, n, 4, repeat, bulk_completion_s=time_s)
    found = costs(computations(runs.frame))
    assert bottleneck(found)[0].endswith(
        "2 are not decided: 1 because there are fewer than 6 repeats, and so no 95 % interval, 1 because the interval "
        "contains both no cost and a cost above 10 %."
    )
    verdicts = [row[-1] for row in cost_table(found).rows]
    assert verdicts == ["slower", "not decided: too few repeats", "not decided: interval too wide"]


def outages_of_two_lengths() -> Runs:
    runs = Runs()
    for lasted_s, share in ((10, 0.95), (200, 0.05)):
        for repeat in range(3):
            figures = {"availability": share, "rounds_recovery_s": 6.0, "overlay_recovery_s": 2.0}
            runs.trial(HUB, 3, 25, repeat, **figures, tcp_recovery_s=4.0)
            other(runs, 5, kill_for_s=lasted_s)
    return runs


def test_outages_of_different_lengths_are_told_apart_everywhere(tmp_path: Path) -> None:
    found = outages(outages_of_two_lengths().frame)
    said = " ".join(single_point(found))
    assert "The server was a single point of failure for refmesh hub (kill_for_s=200)" in said
    assert "no single point of failure for refmesh hub (kill_for_s=10)" in said
    assert [row[1] for row in outage_table(found).rows] == ["3 parties, kill_for_s=10", "3 parties, kill_for_s=200"]

    records = outages_of_two_lengths().frame
    for lasted_s, share in ((10, 0.95), (200, 0.05)):
        (tmp_path / f"{lasted_s}.csv").write_text(f"since_s,share\n-1,1\n0,{share}\n")
    lasted = records["params"].astype(str).str.extract(r'"kill_for_s":\s*(\d+)')[0]
    records["evidence"] = lasted + ".csv"
    plots = outage_plots(shares_over_time(tmp_path, records), {})
    drawn = {plot.name: float(pd.DataFrame(plot.data).query("since_s == 0")["share"].iloc[0]) for plot in plots}
    assert drawn == {"hub-outage-kill-for-s-10": 0.95, "hub-outage-kill-for-s-200": 0.05}


def test_a_pair_that_stayed_silent_is_said_and_no_number_is_made_of_it() -> None:
    runs = Runs()
    for repeat in range(3):
        runs.trial(HUB, 3, 25, repeat, availability=0.1, rounds_recovery_s=6.0, overlay_recovery_s=None)
    said = " ".join(single_point(outages(runs.frame)))
    assert (
        "refmesh hub 6.0 s, although not all pairs answered pings" in said and "nan" not in said and "inf" not in said
    )


def test_only_what_ran_on_one_host_is_compared() -> None:
    """Two hosts, one thrice as fast, each repeat on both or on one alone: hub and mesh are equal."""
    runs = Runs()
    for repeat in range(12):
        for host, slow in (("here", 1.0), ("there", 3.0)):
            runs.host = host
            if repeat < 6 or host == "here":
                runs.trial(MESH, 4, 4, repeat, bulk_completion_s=slow)
            if repeat < 6 or host == "there":
                runs.trial(HUB, 4, 4, repeat, bulk_completion_s=slow)
    found = costs(computations(runs.frame))
    assert [(cost.ratio.n, cost.ratio.value, cost.judgement, cost.apart) for cost in found] == [(12, 1.0, "as fast", 6)]
    assert "In 6 more repeats the two ran on different hosts, so that they are not compared." in bottleneck(found)[0]
    assert cost_table(found).rows[0][6] == "12 (6 on two hosts)"


def test_repeats_in_which_neither_came_are_counted_and_said() -> None:
    cost, sentences = judged([None] * 3 + [1.0] * 6, [None] * 3 + [1.0] * 6)
    assert (cost.ratio.n, cost.neither, cost.judgement) == (6, 3, "as fast")
    assert "In 3 more repeats neither the server nor the mesh finished, so that there is no ratio." in sentences[0]
    assert cost_table([cost]).rows[0][6] == "6 (3 neither)"


def test_a_cell_in_which_neither_ever_came_is_there() -> None:
    cost, sentences = judged([None] * 6, [None] * 6)
    assert (cost.ratio.n, cost.neither, cost.judgement) == (0, 6, "undecided")
    assert "no repeat gives a ratio of two completion times. In 6 more repeats neither" in sentences[0]
    assert cost_table([cost]).rows[0][5:] == ("-", "0 (6 neither)", "not decided: no ratio")


def test_outages_of_different_topologies_are_not_pooled(tmp_path: Path) -> None:
    runs = Runs()
    for topology, share in (("parties", 0.95), ("same-subnet", 0.05)):
        for repeat in range(6):
            runs.trial(HUB, 3, 25, repeat, availability=share, coasted_s=0.1)
            for at in (-1, -2, -3):
                more = {"topology": topology, "trial": f"{topology}-{repeat}", "evidence": f"{topology}.csv"}
                runs.records[at] = Record(**(runs.records[at].as_dict() | more))
        (tmp_path / f"{topology}.csv").write_text(f"since_s,share\n-1,1\n0,{share}\n")
    found = {one.condition: (one.figures["availability"].n, one.judgement) for one in outages(runs.frame)}
    assert found == {"parties": (6, "went on"), "same-subnet": (6, "stopped")}
    shares = shares_over_time(tmp_path, runs.frame)
    assert set(shares["condition"]) == {"parties", "same-subnet"}
