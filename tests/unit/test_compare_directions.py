"""What got worse in some cells and better in others: each direction is judged by itself, and hides no other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harness.results.changes import Change, Rule
from harness.results.compare import compare_samples
from harness.results.matching import Sample
from harness.results.ranks import Cell
from harness.results.session import Shift, unless_the_machine

TRIALS = 10
NEW = np.arange(2 * TRIALS) >= TRIALS
# Values of the new run, given those and the number of the cell.
Made = Callable[[np.ndarray, int], np.ndarray]


def cell(name: str, values: np.ndarray) -> Cell:
    return Cell(name, values, np.arange(2 * TRIALS), np.zeros(2 * TRIALS, dtype=int), NEW)


def only(metric: str, *cells: Cell) -> Change:
    (change,) = compare_samples([Sample("s", metric, "1" if metric.endswith("success") else "ms", cells)], Rule())
    return change


def round_trips(count: int, made: Made, noise: float = 0.02) -> Change:
    rng = np.random.default_rng(0)
    cells = []
    for number in range(count):
        values = 20 * np.exp(rng.normal(0, noise, 2 * TRIALS))
        values[NEW] = made(values[NEW], number)
        cells.append(cell(f"c{number}", values))
    return only("rtt_p50_ms", *cells)


def successes(*rates: tuple[float, float]) -> Change:
    """Cells in which no trial or every one succeeded, in the base and in the new run."""
    return only("hole_punch_success", *(cell(f"c{k}", np.where(NEW, new, base)) for k, (base, new) in enumerate(rates)))


def test_a_pair_of_nats_that_was_lost_is_named_though_two_were_gained() -> None:
    """It was an improvement, of which the two gained cells alone were named."""
    change = successes((1.0, 0.0), (0.0, 1.0), (0.0, 1.0))
    assert (change.verdict, change.named) == ("regression", ("c0",))
    assert change.p_corrected < 0.05


@pytest.mark.parametrize("constant", [0, 1])
def test_a_pair_of_members_that_was_lost_is_named_though_another_was_gained(constant: int) -> None:
    """A trial's mean rank over its pairs is then the same in both runs, which says nothing of each pair's test."""
    pairs = 2 + constant
    trials, members = np.repeat(np.arange(2 * TRIALS), pairs), np.tile(np.arange(pairs), 2 * TRIALS)
    new = NEW[trials]
    values = np.select([members == 0, members == 1], [~new, new], 1).astype(float)
    names = ("a - b", "a - c", "b - c")[:pairs]
    change = only("hole_punch_success", Cell("cell", values, trials, members, new, names))
    assert (change.verdict, change.named) == ("regression", ("cell, a - b",))
    assert change.least_p <= change.p_worse


def test_a_cell_that_got_slower_is_named_though_two_got_faster() -> None:
    change = round_trips(3, lambda values, number: values * (1.5, 0.5, 0.5)[number])
    assert (change.verdict, change.named) == ("regression", ("c0",))
    other = round_trips(3, lambda values, number: values * (0.5, 0.5, 0.99)[number])
    assert (other.verdict, set(other.named)) == ("improvement", {"c0", "c1"})


def test_what_got_worse_by_too_little_does_not_take_away_what_got_better() -> None:
    change = round_trips(3, lambda values, number: values * (1.05, 0.5, 0.5)[number])
    assert (change.verdict, set(change.named)) == ("improvement", {"c1", "c2"})


def test_a_typical_change_for_the_better_is_none_for_the_worse() -> None:
    """One cell of two is 4 % slower for certain, the other 40 % faster, less certainly: no regression of 18 % less."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        slower, faster = (20 * np.exp(rng.normal(0, noise, 2 * TRIALS)) for noise in (0.008, 0.35))
        slower[NEW] *= 1.04
        faster[NEW] *= 0.6
        assert only("rtt_p50_ms", cell("c0", slower), cell("c1", faster)).verdict != "regression"


@pytest.mark.parametrize("factor", [0.93, 1.04])
def test_a_small_shift_does_not_hide_values_that_are_far_off(factor: float) -> None:
    """A fifth of the new trials take five times as long: 7 % less elsewhere was an improvement, 4 % more too small."""

    def made(values: np.ndarray, _number: int) -> np.ndarray:
        return values * factor * np.where(np.arange(TRIALS) < TRIALS // 5, 5, 1)

    change = round_trips(6, made)
    assert (change.verdict, change.outliers_worse) == ("regression", True)


def test_a_large_shift_is_told_by_itself() -> None:
    change = round_trips(6, lambda values, _: values * 3)
    assert (change.verdict, change.outliers_worse) == ("regression", False)


def test_the_machine_explains_what_got_worse_whatever_got_better() -> None:
    change = round_trips(3, lambda values, number: values * (1.3, 0.3, 0.3)[number])
    assert change.verdict == "regression"
    assert unless_the_machine(change, Shift({"underlay_rtt_p50_ms": 1.2})).verdict == "machine moved"
    assert unless_the_machine(change, Shift({"underlay_rtt_p50_ms": 1.05})).verdict == "regression"


def test_what_is_likely_in_a_direction_must_matter_in_that_one() -> None:
    """One cell a little slower, the other much faster but for one trial: "worse, not yet certain" it was."""
    trials = np.arange(10)
    slower = np.array([20.0, 20.1, 20.2, 20.3, 20.4, 20.8, 20.9, 21.0, 21.1, 21.2])
    faster = np.array([16.0, 20.0, 21.0, 22.0, 23.0, 10.0, 11.0, 12.0, 13.0, 17.0])
    cells = [
        Cell(name, values, trials, np.zeros(10, dtype=int), trials >= 5)
        for name, values in (("c0", slower), ("c1", faster))
    ]
    many = [Sample(f"s{number}", "rtt_p50_ms", "ms", tuple(cells)) for number in range(12)]
    changes = compare_samples(many, Rule(), together=False)
    assert all(one.p_worse < 0.025 < one.p_better for one in changes)
    assert {one.verdict for one in changes} == {"no difference found"}
