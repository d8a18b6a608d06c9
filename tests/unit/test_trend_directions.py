"""What runs confirm, and in which direction: no pair's gain confirms what another lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from trend_worlds import World, called

from harness.results.changes import Rule
from harness.results.series import Axis, HistoryCell, Series
from harness.results.statistics import as_floats
from harness.results.trend import Finding, judge

REPEATS = 10


def axis_of(runs: int) -> Axis:
    return Axis(("o",), ("base", "new"), (0,) * runs + (1,) * runs, tuple(range(2 * runs)))


def found_in(axis: Axis, *cells: HistoryCell) -> Finding:
    (found,) = judge([Series(axis, "o mesh", "rtt_p50_ms", "ms", "", "", cells)], axis, Rule())[0]
    return found


def cell(name: str, factors: dict[int, float], noise: float, seed: int) -> HistoryCell:
    """Return a cell that was measured in these runs, around 20 ms times the run's factor."""
    runs = np.repeat(list(factors), REPEATS)
    values = 20 * np.exp(np.random.default_rng(seed).normal(0, noise, runs.size))
    values *= np.repeat(list(factors.values()), REPEATS)
    return HistoryCell(name, as_floats(values), np.arange(runs.size), np.zeros(runs.size, dtype=int), runs)


def mesh(first: Sequence[float], second: Sequence[float]) -> HistoryCell:
    """Return a cell whose trials have two pairs, each with a factor of each run."""
    runs = np.repeat(np.arange(len(first)), 2 * REPEATS)
    trials, pairs = np.repeat(np.arange(len(first) * REPEATS), 2), np.tile([0, 1], len(first) * REPEATS)
    values = 20 * np.exp(np.random.default_rng(0).normal(0, 0.02, runs.size))
    values *= np.where(pairs == 0, np.asarray(first)[runs], np.asarray(second)[runs])
    return HistoryCell("cell", as_floats(values), trials, pairs, runs, ("a - b", "a - c"))


def test_runs_of_a_pair_that_got_faster_do_not_confirm_that_another_got_slower() -> None:
    """The first pair's runs differ as much within the versions; the other's, 2.5 % faster in each, confirmed a loss."""
    found = found_in(axis_of(3), mesh([1, 1.45, 1, 1.5, 1.9, 1.44], [1, 1, 1, 0.975, 0.975, 0.975]))
    assert found.change.named == ("cell, a - b",)
    assert (found.change.verdict, found.too_few_runs) == ("worse, not yet certain", False)
    found = found_in(axis_of(3), mesh([1, 1.02, 1, 1.5, 1.52, 1.5], [1, 1, 1, 0.975, 0.975, 0.975]))
    assert found.change.verdict == "regression"


def test_runs_that_could_not_differ_by_enough_confirm_nothing() -> None:
    """Medians of runs do not see a fifth of the trials; 4 % more in each run, not corrected for, confirmed them."""
    cells = []
    for seed in range(4):
        one = cell(f"c{seed}", {run: 1.04 if run > 2 else 1.0 for run in range(6)}, 0.01, seed)
        far = (one.trials % REPEATS < REPEATS // 5) & (one.sessions > 2)
        cells.append(replace(one, values=as_floats(one.values * np.where(far, 5, 1))))
    found = found_in(axis_of(3), *cells)
    assert found.change.outliers_worse
    assert (found.change.verdict, found.too_few_runs) == ("worse, not yet certain", False)


def test_a_cell_that_fewer_runs_measured_is_judged_by_those() -> None:
    """An eighth more in three runs of five: by the number of all runs they could not differ by a tenth."""
    always = cell("always", dict.fromkeys(range(10), 1.0), 0.001, 1)
    in_some = cell("in some", {run: 1.12 if run > 4 else 1.0 for run in (0, 1, 2, 5, 6, 7)}, 0.001, 2)
    found = found_in(axis_of(5), always, in_some)
    assert (found.change.verdict, found.change.named) == ("regression", ("in some",))


def test_a_search_names_the_cell_that_got_slower_though_two_got_faster() -> None:
    """By Cliff's delta over all cells it was an improvement."""
    (found,) = called(World(change=lambda point, cell: (1.5, 0.6, 0.6)[cell] if point >= 6 else 1.0))
    assert (found.change.verdict, found.change.named) == ("regression", ("pair 0",))
    assert found.change.p_corrected < 0.05


@pytest.mark.parametrize("points", [3, 8])
def test_a_cell_that_is_still_slower_stands_though_another_got_faster_since(points: int) -> None:
    """By the typical cell alone nothing was worse at the end, and `--check` passed."""

    def change(point: int, cell: int) -> float:
        return (1.5 if point > 0 else 1.0) if cell == 0 else (0.6 if point == 2 else 1.0) if cell == 1 else 1.0

    world = World(points=3, runs=3, noise=0.02, metrics=("rtt_p50_ms",), change=change)
    if points == 8:
        world = replace(world, points=8, runs=1, change=lambda point, cell: change((point > 2) + (point > 5), cell))
    worse = [one for one in called(world) if one.change.verdict == "regression"]
    assert [(one.change.named, one.standing) for one in worse] == [(("pair 0",), True)]
