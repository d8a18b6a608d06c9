"""What so many trials could have found, how many it takes, and what an interval of few trials is worth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.report.comparison import verdict_text
from harness.results.changes import Change, Rule, change_of
from harness.results.compare import compare_samples
from harness.results.intervals import interval_of_medians, middles_of
from harness.results.matching import Sample
from harness.results.power import noise_of
from harness.results.ranks import Cell

LEVEL = 0.01


def sample_of(
    rng: np.random.Generator, repeats: int, *, share: float = 0.0, noise: float = 0.15, cells: int = 1, odd: int = 0
) -> Sample:
    """Round trips of 20 ms, in each further cell 20 ms more; `odd` trials of each run are far off."""
    new = np.arange(2 * repeats) >= repeats
    trials, found = np.arange(2 * repeats), []
    for cell in range(cells):
        values = 20.0 * (cell + 1) * np.exp(rng.normal(0, noise, 2 * repeats)) * np.where(new, 1 + share, 1)
        values[:odd] *= 5
        found.append(Cell(f"c{cell}", values, trials, np.zeros(2 * repeats, dtype=int), new))
    return Sample("s", "rtt_p50_ms", "ms", tuple(found))


def judged(sample: Sample) -> Change:
    return compare_samples([sample], Rule(), together=False)[0]


def said(rng: np.random.Generator, pilot: int, **settings: float) -> list[int]:
    found = [judged(sample_of(rng, pilot, **settings)).repeats_needed for _ in range(60)]  # type: ignore[arg-type]
    return [one for one in found if one is not None]


@pytest.mark.parametrize(("cells", "pilot"), [(1, 3), (1, 6), (1, 10), (4, 3), (4, 10)])
def test_so_many_repeats_as_are_said_find_twice_what_matters(cells: int, pilot: int) -> None:
    """With the 29 that three trials asked for in the middle, a change was called in about half of the runs."""
    rng = np.random.default_rng(1)
    needed = said(rng, pilot, cells=cells)
    runs = [judged(sample_of(rng, int(repeats), share=0.2, cells=cells)) for repeats in rng.choice(needed, 100)]
    assert sum(one.verdict == "regression" for one in runs) >= 78


def test_what_is_said_hardly_depends_on_how_few_trials_say_it() -> None:
    """The spread of three trials by their median absolute deviation is half of what it is."""
    rng = np.random.default_rng(2)
    few, many = (
        np.median([noise_of(sample_of(rng, n), 20.0, 2.0, Rule()).spread for _ in range(200)])  # type: ignore[union-attr]
        for n in (3, 30)
    )
    assert few == pytest.approx(many, rel=0.2)
    assert many == pytest.approx(1.5 * 1.1, rel=0.1), "15 % in units of a tenth, and a tenth more after the change"


def test_cells_are_noisy_in_units_of_what_matters_in_them() -> None:
    rng = np.random.default_rng(3)
    one, four = (noise_of(sample_of(rng, 40, cells=n), 20.0, 2.0, Rule()) for n in (1, 4))
    assert one is not None and four is not None
    assert four.spread == pytest.approx(one.spread, rel=0.2)
    assert four.trials == 4 * one.trials


def test_trials_that_are_far_off_are_no_noise() -> None:
    rng = np.random.default_rng(4)
    calm, odd = (noise_of(sample_of(rng, 20, odd=n), 20.0, 2.0, Rule()) for n in (0, 3))
    assert calm is not None and odd is not None
    assert odd.spread < 1.5 * calm.spread


@pytest.mark.parametrize(("repeats", "cells"), [(6, 1), (10, 1), (6, 4)])
def test_a_change_of_the_size_that_is_called_findable_is_found(repeats: int, cells: int) -> None:
    """Of six repeats with 15 % noise "the trials could have shown one" was said, and 20 % were missed in 62 of 100."""
    rng = np.random.default_rng(5)
    sizes = [judged(sample_of(rng, repeats, cells=cells)) for _ in range(60)]
    shares = [one.findable / one.base for one in sizes if one.findable is not None and math.isfinite(one.findable)]
    assert min(shares) > 0.1, "what matters is a tenth, and its estimate is below that in half of the runs"
    share = float(np.median(shares))
    runs = [judged(sample_of(rng, repeats, share=share, cells=cells)) for _ in range(100)]
    assert sum(one.verdict == "regression" for one in runs) >= 75


def test_it_is_told_beside_no_difference_found() -> None:
    new = np.arange(12) >= 6
    values = np.where(new, 1.01, 1.0) * np.tile([19.0, 20.0, 21.0, 19.5, 20.5, 20.2], 2)
    cell = Cell("c", values, np.arange(12), np.zeros(12, dtype=int), new)
    found = judged(Sample("s", "rtt_p50_ms", "ms", (cell,)))
    assert found.verdict == "no difference found"
    assert found.findable is not None
    share = 100 * found.findable / found.base
    assert 10 < share < 30
    assert f"({share:.0f} %))" in verdict_text(found)


def test_rates_are_told_as_well() -> None:
    """Ten of ten against ten of ten: what would have been found is a loss of more than half."""
    new = np.arange(20) >= 10
    cell = Cell("c", np.ones(20), np.arange(20), np.zeros(20, dtype=int), new)
    sample = Sample("s", "connect_success", "1", (cell,))
    noise = noise_of(sample, 1.0, change_of(sample, Rule()).threshold, Rule())
    assert noise is not None
    assert 0.3 < noise.findable(LEVEL) * change_of(sample, Rule()).threshold < 0.8


def test_one_trial_a_run_tells_of_no_noise() -> None:
    assert noise_of(sample_of(np.random.default_rng(6), 1), 20.0, 2.0, Rule()) is None


def covered(repeats: int, cells: int, runs: int = 150) -> float:
    rng = np.random.default_rng(7)
    found = [interval_of_medians(sample_of(rng, repeats, noise=0.5, cells=cells)) for _ in range(runs)]
    told = [(low, high) for low, high in found if not math.isnan(low)]
    return sum(low <= 0 <= high for low, high in told) / len(told) if told else math.nan


@pytest.mark.parametrize("cells", [1, 3, 6])
@pytest.mark.parametrize("repeats", [1, 2, 3, 4, 5, 8])
def test_an_interval_that_is_called_95_per_cent_is_one(repeats: int, cells: int) -> None:
    """Of two trials a run it covered no change in 68 % of the cases, of three in 89 %."""
    share = covered(repeats, cells)
    assert math.isnan(share) == (cells < 6 and repeats < 5)
    assert math.isnan(share) or share > 0.9


def test_a_pair_that_was_not_drawn_has_not_stayed_the_same() -> None:
    """Counted as no change, a pair that few trials have pulled the interval towards it."""
    inf, nan = math.inf, math.nan
    drawn = np.array([[nan, 1.0, -inf, nan, inf], [3.0, nan, inf, nan, inf], [5.0, 2.0, nan, nan, 1.0]])
    assert middles_of(drawn).tolist()[:3] == [4.0, 1.5, 0.0]
    assert math.isnan(middles_of(drawn)[3]) and middles_of(drawn)[4] == inf
    assert float(middles_of(np.array([2.0, 4.0, -inf]))) == 2.0
