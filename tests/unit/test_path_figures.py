"""The path probe's figures: one clock, one rule, no contradictions; and who bursts at the same time."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from path_pair import DEADLINE_S, SINCE, target, values

from harness.probes.burst import patience_s
from harness.probes.carriage import Attributed, Carried
from harness.probes.pathfigures import PathFound, figures_of, mesh_figures
from harness.probes.pings import Ping
from harness.probes.rounds import rounds_of
from harness.results.metrics import planned


def answered(*ways: Carried, start: float = 103.0) -> list[Attributed]:
    return [Attributed(Ping(n, 500, start + n, start + n + 0.25), way) for n, way in enumerate(ways)]


def found(attributed: list[Attributed], verdict: Any, lost: int = 0, errors: Any = None) -> PathFound:
    return PathFound.of(attributed, verdict, lost=lost, deadline=110.0, errors=errors or {}, since=SINCE)


def test_times_count_from_start_and_from_readiness_by_one_clock() -> None:
    assert values(found(answered("relayed", "asymmetric", "direct"), "direct")) == {
        "connect_success": 1,
        "time_to_connect_s": 3.25,
        "ready_to_connect_s": 1.25,
        "hole_punch_success": 1,
        "time_to_direct_s": 5.25,
        "ready_to_direct_s": 3.25,
    }


def test_a_path_that_is_direct_from_the_first_answer_has_one_time() -> None:
    seen = values(found(answered("direct", "direct"), "direct"))
    assert seen["time_to_direct_s"] == seen["time_to_connect_s"] == 3.25


@pytest.mark.parametrize("verdict", ["relayed", "mixed", "asymmetric", "none"])
def test_path_success_and_time_never_contradict_each_other(verdict: str) -> None:
    seen = values(found(answered("direct", "direct", "relayed"), verdict))
    assert (seen["hole_punch_success"], seen["time_to_direct_s"]) == (0, None)
    late = values(found(answered("direct", start=109.0), "direct"))
    assert late["hole_punch_success"] == 1
    assert late["time_to_direct_s"] == 9.25


def test_direct_after_the_deadline_is_no_hole_punched_by_it() -> None:
    """As in a mesh whose bursts come round by round: relayed in time, direct once the deadline of 110 had passed."""
    late = found(answered("relayed", "relayed", "relayed", "direct", start=107.5), "direct")
    seen = values(late)
    assert (seen["connect_success"], seen["time_to_connect_s"]) == (1, 7.75)
    assert (seen["hole_punch_success"], seen["time_to_direct_s"], seen["ready_to_direct_s"]) == (0, None, None)
    figures = {figure.metric: figure for figure in figures_of(target(), late, DEADLINE_S)}
    assert {figure.path for figure in figures.values()} == {"mixed"}
    assert figures["time_to_direct_s"].outcome == "ok", "censored, not unknown"
    in_time = values(found(answered("relayed", "relayed", "direct", start=107.5), "direct"))
    assert (in_time["hole_punch_success"], in_time["time_to_direct_s"]) == (1, 9.75)
    mesh = {one.metric: one.value for one in mesh_figures([target(), target(dst="c")], [late, late])}
    assert mesh == {"time_to_full_mesh_s": 7.75, "time_to_direct_mesh_s": None}


def test_a_time_that_cannot_be_told_is_null_with_its_reason_and_does_not_count() -> None:
    for one, reason in (
        (found(answered("unknown", "either"), "direct"), "own packets"),
        (found(answered("direct"), "direct", lost=3), "lost 3 frames"),
    ):
        figures = {figure.metric: figure for figure in figures_of(target(), one, DEADLINE_S)}
        assert figures["hole_punch_success"].value == 1
        assert figures["time_to_connect_s"].outcome == "ok"
        for metric in ("time_to_direct_s", "ready_to_direct_s"):
            assert (figures[metric].value, figures[metric].outcome) == (None, "error")
            assert reason in (figures[metric].error or "")


def test_answers_that_crossed_no_network_connect_nobody() -> None:
    figures = list(figures_of(target(), found(answered("nowhere", "nowhere"), "none"), DEADLINE_S))
    assert [figure.value for figure in figures] == [0, None, None, 0, None, None]
    assert {figure.outcome for figure in figures} == {"failed"}
    assert "nothing crossed the network" in (figures[0].error or "")
    assert values(found(answered("nowhere", "relayed"), "relayed"))["time_to_connect_s"] == 4.25


def test_no_answer_in_time_is_no_connection_and_says_what_ping_heard() -> None:
    one = found(answered("relayed", start=111.0), "none", errors={"Network is unreachable": 7})
    (first, *_) = figures_of(target(), one, DEADLINE_S)
    assert (first.value, first.path) == (0, "none")
    assert "Network is unreachable (7 times)" in (first.error or "")


def test_only_modes_that_punch_have_a_direct_time() -> None:
    assert values(found(answered("relayed"), "relayed"), "relay").keys() == {
        "connect_success",
        "time_to_connect_s",
        "ready_to_connect_s",
    }


def test_the_mesh_is_whole_when_its_last_pair_is() -> None:
    targets = [target(src=src, dst=dst) for src, dst in combinations("abc", 2)]
    pairs = [found(answered("direct", start=start), "direct") for start in (101.0, 104.0, 102.0)]
    whole = {one.metric: one.value for one in mesh_figures(targets, pairs)}
    assert whole == {"time_to_full_mesh_s": 4.25, "time_to_direct_mesh_s": 4.25}
    pairs[1] = found(answered("relayed"), "relayed")
    assert [one.value for one in mesh_figures(targets, pairs)] == [3.25, None]
    pairs[0] = found([], "none")
    assert [(one.value, one.outcome) for one in mesh_figures(targets, pairs)] == [(None, "failed")] * 2
    assert not list(mesh_figures(targets[:1], pairs[:1]))


@pytest.mark.parametrize(("mode", "members"), [("mesh", 2), ("relay", 2), ("direct", 3), ("hub", 4)])
def test_what_a_trial_without_path_probe_is_given_is_what_the_probe_gives(mode: str, members: int) -> None:
    targets = [target(mode, src, dst) for src, dst in combinations("abcd"[:members], 2)]
    pairs = [found(answered("direct"), "direct")] * len(targets)
    each = [figure.metric for figure in figures_of(targets[0], pairs[0], DEADLINE_S)]
    whole = [figure.metric for figure in mesh_figures(targets, pairs)]
    expected = planned(mode in ("mesh", "direct"), len(targets))
    assert sorted(expected) == sorted([*((one, True) for one in each), *((one, False) for one in whole)])


@pytest.mark.parametrize("members", range(2, 12))
def test_nobody_bursts_twice_in_a_round_and_rounds_are_few(members: int) -> None:
    pairs = [(str(one), str(other)) for one, other in combinations(range(members), 2)]
    rounds = rounds_of(pairs)
    assert sorted(index for together in rounds for index in together) == list(range(len(pairs)))
    for together in rounds:
        names = [name for index in together for name in pairs[index]]
        assert len(names) == len(set(names))
    assert len(rounds) <= members


def test_the_wait_for_an_answer_follows_the_path() -> None:
    assert patience_s([]) == 1.0
    assert patience_s([Ping(0, 500, 0.0, 1.2), Ping(1, 500, 1.0)]) == pytest.approx(3.6)
