"""What a history's series say: a step, a drift, an outlier, nothing; with which certainty, at which place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from trend_worlds import CHANGED, World, called, made_up, step

from harness.results.changepoints import between_sessions, drifting, in_noise, place_interval
from harness.results.changes import Rule
from harness.results.searching import Level, Levels, search
from harness.results.trend import FEWEST_SEARCHED_POINTS, Finding, judge


def only(findings: list[Finding]) -> Finding:
    (found,) = findings
    assert (found.change.subject, found.change.metric) == CHANGED
    return found


def test_a_step_is_found_at_its_place_with_what_it_changed() -> None:
    found = only(called(World(change=step(1.2, 6))))
    assert (found.kind, found.before, found.at) == ("step", "v5", "v6")
    assert found.change.verdict == "regression" and found.standing and not found.alone
    assert found.change.change / found.change.base == pytest.approx(0.2, abs=0.05)
    assert len(found.change.named) == 3
    assert found.change.p_corrected < 0.01
    places = found.axis.points
    assert places.index(found.between[0]) < 6 <= places.index(found.between[1])


def test_what_got_better_is_an_improvement() -> None:
    assert only(called(World(change=step(0.8, 6)))).change.verdict == "improvement"


def test_the_newest_point_is_called_and_said_to_be_alone() -> None:
    found = only(called(World(points=20, change=step(1.3, 19))))
    assert (found.at, found.change.verdict, found.alone) == ("v19", "regression", True)


def test_what_was_made_good_since_no_longer_stands() -> None:
    worse, better = called(World(points=20, change=step(1.3, 8, 13)))
    assert (worse.at, worse.change.verdict, worse.standing) == ("v8", "regression", False)
    assert (better.at, better.change.verdict) == ("v13", "improvement")


def test_a_slow_drift_is_a_drift() -> None:
    found = only(called(World(points=20, change=lambda point, _cell: 1 + 0.015 * point)))
    assert (found.kind, found.change.verdict, found.before, found.at) == ("drift", "regression", "v0", "v19")


def test_two_steps_are_no_drift() -> None:
    found = called(World(points=24, change=lambda point, _cell: 1.3 ** (point // 8)))
    assert [(one.kind, one.at) for one in found] == [("step", "v8"), ("step", "v16")]


@pytest.mark.parametrize("points", [5, 12, 20])
def test_one_run_that_is_off_is_no_change(points: int) -> None:
    world = World(points=points, change=step(1.6, points // 2, points // 2 + 1))
    assert called(world) == []
    # Of so few points nothing tells an outlier from a regression that was mended.
    told = [one for one in judge(*reversed(made_up(world, np.random.default_rng(1))), Rule())[0] if one.too_few_runs]
    assert bool(told) == (points < FEWEST_SEARCHED_POINTS)


@pytest.mark.parametrize(("points", "runs"), [(3, 1), (2, 2), (2, 3), (6, 1)])
def test_runs_that_differ_by_five_per_cent_fail_no_history(points: int, runs: int) -> None:
    """Of three points with a run each 50 of 50 failed; half of alpha in twenty would be one."""
    world = World(points=points, runs=runs, between=0.05, metrics=("rtt_p50_ms", "time_to_ready_s"))
    failed = [any(one.change.verdict == "regression" for one in called(world, seed)) for seed in range(20)]
    assert sum(failed) <= 2


def test_versions_that_differ_by_more_than_their_runs_are_called() -> None:
    found = only(called(World(points=2, runs=3, between=0.01, metrics=("rtt_p50_ms",), change=step(1.3, 1))))
    assert (found.at, found.change.verdict, found.too_few_runs) == ("v1", "regression", False)


def test_trials_that_are_off_in_every_run_are_no_change() -> None:
    rng = np.random.default_rng(3)
    axis, series = made_up(World(points=12), rng)
    for one in series:
        for cell in one.cells:
            cell.values[::5] *= 4
    assert called_of(axis, series) == []


def called_of(axis, series):  # type: ignore[no-untyped-def]  # as `judge` takes them
    return [one for one in judge(series, axis, Rule())[0] if one.change.verdict in {"regression", "improvement"}]


def test_a_change_in_one_cell_names_the_cell() -> None:
    found = only(called(World(change=lambda point, cell: 1.3 if point >= 6 and cell == 1 else 1.0)))
    assert found.change.named == ("pair 1",)


def test_runs_that_differ_among_themselves_are_no_changes_however_many_trials_they_have() -> None:
    """Five per cent from run to run, one from trial to trial: by the trials alone every second run is a change."""
    world = World(between=0.05, noise=0.01, repeats=10)
    assert [called(world, seed) for seed in range(5)] == [[]] * 5
    found = called(replace(world, change=step(1.4, 6)), 1)
    assert (only(found).at, only(found).change.verdict) == ("v6", "regression")


def test_a_change_that_is_smaller_than_matters_is_not_called() -> None:
    axis, series = made_up(World(noise=0.005, change=step(1.05, 6)), np.random.default_rng(1))
    found = judge(series, axis, Rule())[0]
    assert [one.change.verdict for one in found if one.change.metric == CHANGED[1]] == ["too small to matter"]
    called_now = judge(series, axis, Rule(min_effect=0.02))[0]
    assert [one.change.verdict for one in called_now if one.change.metric == CHANGED[1]] == ["regression"]


def test_fifty_histories_without_a_change_fail_as_seldom_as_alpha_says() -> None:
    """Of 50 at alpha = 0.05, half of it for the worse, more than five would be a matter of 1 in 100,000."""
    for points in (3, 12):
        world = World(points=points, pairs=2, metrics=("rtt_p50_ms", "time_to_ready_s", "tcp_throughput_mbit"))
        failed = sum(any(one.change.verdict == "regression" for one in called(world, seed)) for seed in range(50))
        assert failed <= 5


def test_too_few_trials_are_silent_and_say_so() -> None:
    axis, series = made_up(World(points=6, pairs=1, repeats=1, change=step(9.0, 3)), np.random.default_rng(1))
    findings, judged, silent = judge(series, axis, Rule())
    assert findings == [] and judged == silent == len(series)


def test_what_is_beyond_the_deadline_counts_as_worst() -> None:
    axis, series = made_up(World(change=step(1.0, 0)), np.random.default_rng(2))
    target = next(one for one in series if (one.subject, one.metric) == CHANGED)
    for cell in target.cells:
        cell.values[cell.sessions >= 7] = np.inf
    (found,) = called_of(axis, series)
    assert (found.at, found.change.verdict, found.change.new) == ("v7", "regression", np.inf)


def test_a_long_history_is_tested_by_the_runs_next_to_the_change() -> None:
    _, series = made_up(World(points=40, repeats=10, change=step(1.2, 30)), np.random.default_rng(1))
    target = next(one for one in series if (one.subject, one.metric) == CHANGED)
    cell = target.cells[0].between(np.arange(30), np.arange(30, 40))
    assert cell is not None
    assert len(set(cell.trials)) == 80 and cell.new.sum() == 40
    kept = np.unique(target.cells[0].sessions[np.isin(target.cells[0].trials, cell.trials)])
    assert kept.tolist() == list(range(26, 34))


def test_the_search_needs_sessions_and_trials_to_agree() -> None:
    """A step that the trials show clearly, between two runs each that differ as much: not certain."""
    matrix = np.asarray([[1.0], [2.0], [2.1], [3.0]])
    sides = between_sessions(matrix, np.asarray([0, 1]), np.asarray([2, 3]), mean=False)
    assert 0.05 < sides.higher < 0.5 < sides.lower


def test_student_and_kendall_agree_with_what_is_known() -> None:
    # Student's t of (1, 2, 3) against (4, 5, 6): t = 3.674 with 4 degrees of freedom.
    matrix = np.arange(1.0, 7.0)[:, None]
    sides = between_sessions(matrix, np.arange(3), np.arange(3, 6), mean=False)
    assert sides.higher == pytest.approx(0.01066, abs=1e-4)
    # Six in order by chance: 1 of 720.
    assert drifting(matrix, mean=False).higher == pytest.approx(1 / 720)


def test_the_place_of_a_clear_step_is_certain_and_of_a_faint_one_is_not() -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 1, (20, 1))
    clear = in_noise(noise + np.repeat([[0.0], [20.0]], 10, axis=0))
    faint = in_noise(noise + np.repeat([[0.0], [1.5]], 10, axis=0))
    assert place_interval(clear, 10) == (10, 10)
    low, high = place_interval(faint, 10)
    assert low < 10 < high or high - low > 1


def test_series_that_never_vary_cost_the_others_nothing() -> None:
    _, series = made_up(World(), np.random.default_rng(1))
    constant = [one for one in series if one.metric == "connect_success"]
    assert search(constant, Rule()) == ([], len(constant))


def test_what_is_printed_beside_a_certain_change_is_below_alpha() -> None:
    """Nine series that surely changed, and one whose own p stands for itself by Holm's steps alone."""
    axis, series = made_up(World(change=step(1.2, 6)), np.random.default_rng(1))
    (changed,) = [one for one in series if (one.subject, one.metric) == CHANGED]
    faint = made_up(World(change=step(1.035, 6)), np.random.default_rng(1))[1]
    (faintly,) = [one for one in faint if (one.subject, one.metric) == CHANGED]
    told = [one.change for one in judge([*[changed] * 9, faintly], axis, Rule())[0]]
    certain = [one.p_corrected for one in told if one.verdict in {"regression", "improvement"}]
    assert len(certain) >= 9 and max(certain) <= Rule().alpha
    levels = Levels(Level(10, 0.02, 0.021), Level(10, 1.0, 1.0), share=0.025)
    assert levels.corrected((0.02, 0.001)) == (0.021, 0.01)
    assert levels.allow((0.02, 1.0)) and levels.allow((0.01, 1.0))
    assert not levels.allow((1.0, 0.02)), "what one direction earned is not the other's"
