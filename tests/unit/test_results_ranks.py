"""The exact stratified rank test against scipy and against what it must not be."""

import math

import numpy as np
import pytest
from scipy import stats

from harness.results.ranks import Cell, rank_test


def cell(base: list[float], new: list[float], name: str = "c") -> Cell:
    values = np.array([*base, *new], dtype=float)
    side = np.arange(values.size) >= len(base)
    return Cell(name, values, np.arange(values.size), np.zeros(values.size), side)


@pytest.mark.parametrize("size", [3, 7, 10])
def test_one_cell_is_wilcoxons_rank_sum(size: int) -> None:
    rng = np.random.default_rng(size)
    base, new = rng.normal(0, 1, size), rng.normal(0.7, 1, size + 1)
    found = rank_test([cell(list(base), list(new))])
    for p, alternative in ((found.higher, "greater"), (found.lower, "less")):
        assert p == pytest.approx(stats.mannwhitneyu(new, base, alternative=alternative, method="exact").pvalue)


def test_successes_are_fishers_test_and_all_or_nothing_is_certain() -> None:
    found = rank_test([cell([1] * 10, [0] * 10)])
    assert found.lower == pytest.approx(1 / 184756) == pytest.approx(found.least_lower)
    mixed = rank_test([cell([1, 1, 1, 0, 1], [0, 1, 0, 0, 0])])
    assert mixed.lower == pytest.approx(stats.fisher_exact([[4, 1], [1, 4]], alternative="greater").pvalue)


@pytest.mark.parametrize(
    ("base", "new"), [((200, 200), (4, 5)), ((100, 100), (97, 100)), ((900, 1000), (30, 40)), ((3, 90), (5, 7))]
)
def test_successes_are_fishers_test_whatever_the_number_of_trials(base: tuple[int, int], new: tuple[int, int]) -> None:
    """200 of 200 against 4 of 5 had p = 3.5e-10 by a normal distribution; it is 0.024."""
    values, others = ([1.0] * k + [0.0] * (n - k) for k, n in (base, new))
    found = rank_test([cell(values, others)])
    table = [[k, n - k] for k, n in (new, base)]
    assert found.lower == pytest.approx(stats.fisher_exact(table, alternative="less").pvalue)
    assert found.higher == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue)


def test_few_trials_against_many_are_counted() -> None:
    rng = np.random.default_rng(3)
    base, new = list(rng.normal(0, 1, 200)), list(rng.normal(3, 1, 4))
    expected = stats.mannwhitneyu(new, base, alternative="greater", method="exact").pvalue
    assert rank_test([cell(base, new)]).higher == pytest.approx(expected)
    assert rank_test([cell(new, base)]).lower == pytest.approx(expected)
    highest = rank_test([cell([float(n) for n in range(200)], [500.0, 501, 502])])
    assert highest.higher == pytest.approx(1 / math.comb(203, 3)) == pytest.approx(highest.least_higher)


def test_a_rare_value_is_counted_among_many_trials() -> None:
    """Three of 100 trials lost packets, and none of the other 100: 0.12 by counting, 0.04 by a normal distribution."""
    found = rank_test([cell([0.0] * 100, [0.0] * 97 + [0.1, 0.2, 0.3])])
    assert found.higher == pytest.approx(math.comb(100, 3) / math.comb(200, 3))


def test_what_is_counted_coarsely_is_nearly_what_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    one = cell(list(rng.normal(0, 1, 200)), list(rng.normal(0.5, 1, 12)))
    fine = rank_test([one]).higher
    monkeypatch.setattr("harness.results.ranksums._MOST_STEPS", 2e6)
    coarse = rank_test([one]).higher
    assert coarse != fine and coarse == pytest.approx(fine, rel=0.1)


def test_a_small_cell_is_counted_beside_a_large_one() -> None:
    rng = np.random.default_rng(4)
    large = cell(list(rng.normal(0, 1, 100)), list(rng.normal(0.3, 1, 100)))
    small = cell([1.0] * 200, [1.0] * 4 + [0.0])
    alone = rank_test([small]).lower
    assert alone == pytest.approx(5 / 205)
    both = rank_test([large, small])
    # All ways of the small one, and the large one's normal distribution for each.
    ranks = [2 * stats.rankdata(one.values) for one in (large, small)]
    weight = round(206 / 201)
    mean, deviation = 100 * ranks[0].mean(), np.sqrt(50 * ranks[0].var(ddof=1))
    seen = weight * ranks[0][large.new].sum() + ranks[1][small.new].sum()
    lowest, usual = np.unique(ranks[1])
    ways = ((5 / 205, lowest + 4 * usual), (200 / 205, 5 * usual))
    expected = sum(share * stats.norm.sf((seen - place - 0.5) / weight, mean, deviation) for share, place in ways)
    assert both.higher == pytest.approx(expected, rel=1e-2)


def test_cells_without_any_variation_say_nothing_and_take_nothing() -> None:
    alone = rank_test([cell([1] * 10, [0] * 10)])
    among = rank_test([cell([1] * 10, [1] * 10)] * 19 + [cell([1] * 10, [0] * 10)])
    assert among == alone
    assert rank_test([cell([1] * 5, [1] * 5)]).least_lower == 1.0


def test_cells_add_up() -> None:
    parts = [([1.0, 2, 3], [4.0, 5, 6]), ([10.0, 11, 12], [13.0, 14, 15])]
    found = rank_test([cell(base, new) for base, new in parts])
    assert found.higher == pytest.approx(0.05**2)
    # Pooled as if they were one cell the difference between the cells would hide the runs'.
    pooled = rank_test([cell([1.0, 2, 3, 10, 11, 12], [4.0, 5, 6, 13, 14, 15])])
    assert pooled.higher > 10 * found.higher


def test_censored_values_are_the_largest() -> None:
    found = rank_test([cell([1.0, 2, 3, 4], [np.inf, np.inf, np.inf, np.inf])])
    assert found.higher == pytest.approx(1 / 70)


def test_pairs_of_one_trial_are_not_many_observations() -> None:
    """Three trials a side of ten pairs each, whole trials higher by chance: 1 in 20, not one in millions."""
    values = np.concatenate([np.full(30, 1.0) + np.arange(30) / 100, np.full(30, 2.0) + np.arange(30) / 100])
    trials = np.repeat(np.arange(6), 10)
    found = rank_test([Cell("c", values, trials, np.tile(np.arange(10), 6), np.repeat([False, True], 30))])
    assert found.higher == pytest.approx(1 / 20)


@pytest.mark.parametrize("size", [8, 60])
def test_without_a_difference_small_p_values_are_rare(size: int) -> None:
    rng = np.random.default_rng(1)
    low = 0
    for _ in range(400):
        cells = [cell(list(rng.normal(place, 1, size)), list(rng.normal(place, 1, size))) for place in (0, 9)]
        low += rank_test(cells).higher <= 0.05
    assert stats.binomtest(low, 400, 0.05, alternative="greater").pvalue > 0.001
