"""What many tests at once cost: what could not matter however the values were dealt costs the others nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench.compare_power import CHANGED, SUBJECT, Case, made_up, measure, nothing, nulls, power, shapes, shift, table
from harness.results.changes import Change, Rule, change_of
from harness.results.compare import compare_samples
from harness.results.matching import Sample
from harness.results.ranks import Cell


def faint(values: np.ndarray, _cell: int, _rng: np.random.Generator) -> np.ndarray:
    """Return values a fifth above twenty, but for one that is below five of the base's: p = 1.0e-4."""
    return np.array([20.5, *np.linspace(24, 25, values.size - 1)])


def among_ten_subjects(noise: float) -> list[Change]:
    """One subject's metric is a fifth higher among ten subjects with every metric; the others have such noise."""
    rng = np.random.default_rng(3)
    samples = made_up(rng, subjects=10, pairs=1, repeats=10, noise=noise, change=faint, metric=CHANGED)
    (cell,) = next(one for one in samples if (one.subject, one.metric) == (SUBJECT, CHANGED)).cells
    cell.values[:10] = [19.0, 19.2, 19.4, 19.6, 19.8, 20.6, 20.7, 20.8, 20.9, 21.0]
    return compare_samples(samples, Rule())


def test_a_change_among_ten_subjects_is_found_where_nothing_else_could_matter() -> None:
    found = {(one.subject, one.metric): one for one in among_ten_subjects(0.05)}[SUBJECT, CHANGED]
    assert found.p_worse == pytest.approx(19 / 184756)
    assert found.verdict == "regression"


def test_where_everything_could_matter_all_of_it_is_corrected_for() -> None:
    found = {(one.subject, one.metric): one for one in among_ten_subjects(0.3)}[SUBJECT, CHANGED]
    assert found.p_worse == pytest.approx(19 / 184756)
    assert found.verdict == "worse, not yet certain"


def samples_of(kind: str, rng: np.random.Generator) -> Sample:
    trials = np.arange(16)
    pairs, names = np.zeros(16, dtype=int), ()
    values = np.exp(rng.normal(3, rng.choice([0.03, 0.05, 0.08]), 16))
    if kind == "beyond the deadline":
        values[rng.random(16) < 0.2] = np.inf
    elif kind == "negative":
        values = rng.normal(-20, 1.0, 16)
    elif kind == "mesh":
        trials, pairs, names = np.repeat(np.arange(8), 2), np.tile([0, 1], 8), ("p1 - p2", "p1 - p3")
    elif kind == "successes":
        values = (rng.random(16) < rng.choice([0.0, 0.02, 0.5])).astype(float)
    metric = "hole_punch_success" if kind == "successes" else CHANGED
    return Sample("s", metric, "", (Cell("c", values, trials, pairs, trials >= trials.max() / 2, names),))


@pytest.mark.parametrize("kind", ["values", "beyond the deadline", "negative", "mesh", "successes"])
def test_what_cannot_matter_does_not_however_the_trials_are_dealt(kind: str) -> None:
    rng = np.random.default_rng(11)
    seen = set()
    for _ in range(40):
        sample = samples_of(kind, rng)
        (cell,) = sample.cells
        could = change_of(sample, Rule()).could_matter
        dealt = []
        for _ in range(25):
            side = rng.permutation(np.unique(cell.trials)) < np.unique(cell.trials).size / 2
            new = side[cell.trials]
            other = Sample(
                "s", sample.metric, "", (Cell("c", cell.values, cell.trials, cell.pairs, new, cell.pair_names),)
            )
            change = change_of(other, Rule())
            assert change.could_matter == could, "it must not depend on which value is whose"
            typical = any(change.matters_for(worse=worse) for worse in (True, False))
            dealt.append(typical or any(one.matters for one in change.cells))
        assert could or not any(dealt)
        seen.add(could)
    assert True in seen and (False in seen or kind == "beyond the deadline")


@pytest.mark.parametrize("of_new", [1, 3, 5])
def test_what_a_path_could_show_does_not_depend_on_which_trials_took_it(of_new: int) -> None:
    """A pair took one path in six of twelve trials, once 15 % slower: three and three could not differ by a tenth."""
    trials = np.tile(np.arange(12), 2)
    pairs = np.repeat([0, 1, 2], [6, 6, 12])
    values = np.array([20.0] * 5 + [23.0] + [20.0] * 18)
    of_trial = np.arange(12) < of_new
    of_trial[6 : 12 - of_new] = True
    cell = Cell("c", values, trials, pairs, of_trial[trials], ("p1 - p2, direct", "p1 - p2, relayed", "p1 - p3"))
    assert change_of(Sample("s", CHANGED, "", (cell,)), Rule()).could_matter


def quiet(factor: float) -> Sample:
    """Five trials against five that differ by half a per cent, so that no dealing of them matters; or by the factor."""
    new = np.arange(10) % 2 == 1
    values = np.where(new, factor, 1) * np.linspace(19.9, 20.1, 10)
    return Sample("quiet", CHANGED, "", (Cell("c", values, np.arange(10), np.zeros(10, dtype=int), new),))


@pytest.mark.parametrize(("others", "same", "slower"), [(1, "no difference found", True), (2, "undecided", False)])
def test_no_difference_is_found_where_one_would_have_been(others: int, same: str, slower: bool) -> None:
    """With values that differ it were one more test to correct for, which it is not itself without them."""
    rng = np.random.default_rng(1)
    new = np.arange(10) >= 5
    noisy = [
        Sample(
            f"{number}",
            CHANGED,
            "",
            (Cell("c", np.exp(rng.normal(3, 0.4, 10)), np.arange(10), np.zeros(10, int), new),),
        )
        for number in range(others)
    ]
    assert compare_samples([quiet(1.0), *noisy], Rule(), together=False)[0].verdict == same
    assert (compare_samples([quiet(1.2), *noisy], Rule(), together=False)[0].verdict == "regression") == slower


@pytest.mark.parametrize("noise", [0.05, 0.2])
def test_runs_without_a_difference_fail_as_seldom_as_is_said(noise: float) -> None:
    row = Case("nulls", "no difference", nothing, 1, 1, 150, noise=noise).row()
    assert stats.binomtest(row["others_blamed"], 150, 0.02, alternative="greater").pvalue > 0.01


def test_no_two_rows_are_drawn_alike() -> None:
    """Rows of one section, and as many subjects and pairs, had the same noise, whatever had changed in them."""
    cases = [*power(400), *nulls(500), *shapes(400)]
    assert len({case.rng().random() for case in cases}) == len(cases)
    louder = [replace(case, noise=2 * case.noise) for case in cases]
    assert not {case.rng().random() for case in cases} & {case.rng().random() for case in louder}


def test_rows_that_were_measured_are_kept_and_shown(tmp_path: Path) -> None:
    case = Case("power", "+20 % in one subject", shift(0.2), 1, 1, 3)
    file = tmp_path / "rows"
    assert measure([case], file, known_alone=True) == []
    (row,) = measure([case], file)
    assert (row["runs"], row["found"], row["others_blamed"]) == (3, 3, 0)
    file.write_text(json.dumps({**row, "found": 2}) + "\n")
    assert measure([case], file)[0]["found"] == 2, "no row is measured twice"
    assert "| +20 % in one subject | 1 | 1 | 3/3 (43.9 to 100.0 %) | 0/3 (0.0 to 56.1 %) |" in table([row])


def test_every_size_at_which_power_is_told_is_among_the_nulls() -> None:
    """Of ten subjects on 6 pairs, and of five on 21, power was told and nobody knew how often nothing was blamed."""
    sizes = {(case.subjects, case.pairs) for case in power(20)}
    assert sizes == {(case.subjects, case.pairs) for case in nulls(20) if case.truth == "no difference"}
