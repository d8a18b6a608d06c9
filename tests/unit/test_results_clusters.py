"""Pairs of one trial are not independent: intervals over pairs know it."""

import numpy as np
import pytest
from scipy import stats

from harness.results.clusters import clustered_median, clustered_proportion, estimate
from harness.results.statistics import median, median_ranks, medians, proportion, wilson


@pytest.mark.parametrize(("k", "n"), [(0, 7), (3, 7), (10, 10), (199, 500)])
def test_wilson_against_scipy(k: int, n: int) -> None:
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson(k / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_one_pair_a_trial_is_the_plain_estimate() -> None:
    assert estimate("hole_punch_success", [1, 0, 1], ["x", "y", "z"]) == proportion(2, 3)
    values = list(np.arange(8.0))
    assert estimate("rtt_p50_ms", values, list("abcdefgh")) == median(values)


def test_pairs_that_all_agree_count_as_their_trials() -> None:
    values, codes = np.ones(40), np.repeat(np.arange(4), 10)
    found = clustered_proportion(values, codes)
    assert (found.n, found.value) == (40, 1.0)
    assert found.low == pytest.approx(wilson(1.0, 4)[0])


def test_trials_that_fail_as_a_whole_make_the_interval_as_wide_as_that_of_trials() -> None:
    codes = np.repeat(np.arange(20), 10)
    whole = clustered_proportion((codes < 15).astype(float), codes)
    assert (whole.low, whole.high) == pytest.approx(wilson(0.75, 20), abs=0.02)
    alike = np.tile(([1.0] * 3 + [0.0]) * 5, 10)  # every trial has seven or eight of ten
    spread = clustered_proportion(alike, codes)
    assert (spread.low, spread.high) == pytest.approx(wilson(0.75, 200), abs=0.01)


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_the_interval_covers_the_true_rate(shared: float) -> None:
    """12 trials of 10 pairs, true rate 0.7; each pair does what its trial does with probability `shared`."""
    rng = np.random.default_rng(5)
    codes, hits = np.repeat(np.arange(12), 10), 0
    for _ in range(400):
        of_trial = np.repeat(rng.random(12) < 0.7, 10)
        own = rng.random(120) < 0.7
        found = clustered_proportion(np.where(rng.random(120) < shared, of_trial, own).astype(float), codes)
        hits += found.low <= 0.7 <= found.high
    assert hits / 400 >= 0.92


def test_the_median_of_pairs_is_as_sure_as_its_trials() -> None:
    rng = np.random.default_rng(6)
    codes = np.repeat(np.arange(8), 10)
    of_trial = rng.normal(50, 10, 8)
    values = of_trial[codes] + rng.normal(0, 0.1, 80)
    found = clustered_median(values, codes)
    assert found.value == pytest.approx(np.median(values))
    alone = median(list(values))  # as if there were 80 runs: far too narrow
    assert found.high - found.low > 2 * (alone.high - alone.low)


def test_few_trials_have_the_range_of_their_medians_and_one_has_none() -> None:
    codes = np.repeat(np.arange(3), 2)
    found = clustered_median(np.array([1.0, 3, 10, 12, np.inf, np.inf]), codes)
    assert (found.low, found.high) == (2.0, np.inf)
    assert "range of 3 runs' medians (covers 75 %)" in found.method and "2 of 6 censored" in found.method
    assert np.isnan(clustered_median(np.array([1.0, 2]), np.zeros(2, int)).low)


@pytest.mark.parametrize("n", [6, 7, 8, 9, 10, 12, 30])
def test_the_interval_of_a_median_covers_what_it_says(n: int) -> None:
    rows = np.random.default_rng(n).exponential(1, (2000, n))
    hits = np.mean([found.low <= np.log(2) <= found.high for found in medians(list(rows))])
    said = median_ranks(n)[1]
    assert said >= 0.95
    assert hits == pytest.approx(said, abs=4 * np.sqrt(said * (1 - said) / 2000))


@pytest.mark.parametrize("n", range(1, 120))
def test_no_narrower_interval_of_a_median_would_do(n: int) -> None:
    k, said = median_ranks(n)
    assert said == pytest.approx(1 - 2 * stats.binomtest(k - 1, n, alternative="less").pvalue if k > 1 else said)
    assert n < 6 or 1 - 2 * stats.binom.cdf(k, n, 0.5) < 0.95 <= said


@pytest.mark.parametrize("skewed", [False, True])
def test_the_interval_of_a_median_of_pairs_covers_95_percent_of_seven_trials(skewed: bool) -> None:
    rng = np.random.default_rng(8)
    codes, hits = np.repeat(np.arange(7), 3), 0
    for world in rng.normal(size=(600, 7, 1)) + rng.normal(size=(600, 7, 3)):
        found = clustered_median(np.exp(world).ravel() if skewed else world.ravel(), codes)
        hits += found.low <= (1.0 if skewed else 0.0) <= found.high
    assert hits / 600 >= 0.95


def test_the_interval_of_a_median_of_pairs_holds_the_estimate() -> None:
    """One trial of many pairs moves the median over pairs to where no other trial is."""
    codes = np.concatenate([np.arange(40), np.full(200, 40)])
    found = clustered_median(np.concatenate([np.linspace(0, 1, 40), np.linspace(5, 6, 200)]), codes)
    assert found.low < 1 < found.value == found.high
