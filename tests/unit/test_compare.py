"""Comparing two runs: finds what changed, does not cry wolf, and says what it could not have seen."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from compared_runs import run_of, verdict
from mesh_samples import mesh_of_five
from result_samples import Maker
from scipy import stats

from harness.report.comparison import remarks, to_summary, verdict_line
from harness.results.changes import Rule
from harness.results.compare import ALL, compare
from harness.results.frame import records_frame
from harness.results.metrics import metric_of
from harness.results.statistics import holm


def test_a_slower_overlay_is_a_regression_and_the_underlay_is_not() -> None:
    comparison = compare(run_of(seed=1), run_of(seed=2, slower_ms=8))
    assert verdict(comparison, "refmesh mesh", "rtt_p50_ms") == "regression"
    assert verdict(comparison, "refmesh mesh", "added_rtt_p50_ms") == "regression"
    assert verdict(comparison, "underlay", "rtt_p50_ms") == "no difference found"
    assert verdict(comparison, "refmesh mesh", "tcp_throughput_ratio") == "no difference found"
    change = next(c for c in comparison.regressions if c.subject.startswith("refmesh mesh"))
    assert change.change == pytest.approx(8, abs=0.5)
    assert change.low < 8 < change.high and change.trials == (12, 12)
    assert change.delta == 1.0


def test_the_other_way_round_it_is_an_improvement() -> None:
    comparison = compare(run_of(seed=1, slower_ms=8), run_of(seed=2))
    assert verdict(comparison, "refmesh mesh", "rtt_p50_ms") == "improvement"
    assert comparison.regressions == []


def test_one_run_each_shows_a_change_over_all_subjects_but_blames_none() -> None:
    comparison = compare(run_of(1, seed=1), run_of(1, seed=2, slower_ms=8))
    assert verdict(comparison, ALL, "rtt_p50_ms") == "regression"
    assert verdict(comparison, "refmesh mesh", "rtt_p50_ms") in {"undecided", "worse, not yet certain"}
    assert comparison.repeats_needed is not None and comparison.repeats_needed > 1


def test_a_certain_but_tiny_change_is_no_regression() -> None:
    comparison = compare(run_of(5, seed=1, noise_ms=0.001), run_of(5, seed=2, noise_ms=0.001, slower_ms=0.05))
    assert verdict(comparison, "refmesh mesh", "rtt_p50_ms") == "too small to matter"
    assert comparison.regressions == []
    strict = compare(
        run_of(5, seed=1, noise_ms=0.001), run_of(5, seed=2, noise_ms=0.001, slower_ms=4), Rule(min_effect=0.05)
    )
    assert verdict(strict, "refmesh mesh", "rtt_p50_ms") == "regression"
    lax = compare(
        run_of(5, seed=1, noise_ms=0.001), run_of(5, seed=2, noise_ms=0.001, slower_ms=4), Rule(min_effect=0.5)
    )
    assert verdict(lax, "refmesh mesh", "rtt_p50_ms") == "too small to matter"


def test_lost_hole_punching_is_a_regression_in_success_and_time() -> None:
    def broken(maker: Maker) -> pd.DataFrame:
        rows = [record.as_dict() for trial in maker.campaign(4) for record in trial]
        for row in rows:
            if (row["overlay"], row["mode"]) == ("nebula", "mesh"):
                if row["metric"] == "hole_punch_success":
                    row["value"] = 0
                if row["metric"] == "time_to_direct_s":
                    row["value"] = None
        return records_frame(rows)

    comparison = compare(run_of(4, seed=1), broken(Maker(seed=2)))
    assert verdict(comparison, "nebula mesh", "hole_punch_success") == "regression"
    assert verdict(comparison, "nebula mesh", "time_to_direct_s") == "regression"
    assert verdict(comparison, "refmesh mesh", "hole_punch_success") == "no difference found"
    change = next(c for c in comparison.regressions if c.metric == "hole_punch_success" and c.subject != ALL)
    assert (round(change.base, 2), change.new) == (0.83, 0.0)
    assert change.low < -0.6 and change.high < 0


def test_false_alarms_are_rarer_than_alpha_without_the_minimum_effect() -> None:
    """Without any minimum effect the test alone must keep its promise; 6 of 20 would be more than four times alpha."""
    keep = {"rtt_p50_ms", "time_to_direct_s", "tcp_throughput_ratio"}
    run = run_of(2)
    run = run[run["metric"].astype(str).isin(keep)]
    # Noise large against what tells the subjects apart, the same for both sides; what is censored (NaN) stays so.
    scale = run["metric"].astype(str).map({"rtt_p50_ms": 3.0, "time_to_direct_s": 3.0, "tcp_throughput_ratio": 0.02})
    rng = np.random.default_rng(1)

    def noisy() -> pd.DataFrame:
        return run.assign(value=run["value"] + scale * np.abs(rng.standard_normal(len(run))))

    alarms = 0
    for _ in range(20):
        comparison = compare(noisy(), noisy(), Rule(min_effect=0))
        alarms += any(c.p_corrected < 0.05 and c.p_worse < c.p_better for c in comparison.changes)
    assert stats.binomtest(alarms, 20, 0.05, alternative="greater").pvalue > 0.001


def test_holm_against_the_worked_example() -> None:
    # m = 4: 4 * 0.01, 3 * 0.013, 2 * 0.014 (kept at the larger before it), 1 * 0.19.
    assert holm([0.01, 0.013, 0.19, 0.014]) == pytest.approx([0.04, 0.04, 0.19, 0.04])
    assert holm([]) == []
    assert np.all(np.asarray(holm([0.9, 0.8])) <= 1)


def _worse_in(
    run: pd.DataFrame, cells: set[tuple[str, str]], metric: str, change: Callable[[pd.Series], pd.Series]
) -> pd.DataFrame:
    rows = (run["overlay"].astype(str) == "nebula") & (run["metric"].astype(str) == metric)
    rows &= np.array([pair in cells for pair in zip(run["nat_a"].astype(str), run["nat_b"].astype(str), strict=True)])
    return run.assign(value=run["value"].where(~rows, change(run["value"])))


def test_a_cell_that_was_lost_is_found_and_named() -> None:
    """2 of 21 NAT pairs that went from 10/10 to 0/10 were "too small to matter"."""
    lost = {("full-cone", "full-cone")}
    new = _worse_in(run_of(10, seed=2), lost, "hole_punch_success", lambda value: value * 0)
    change = next(c for c in compare(run_of(10, seed=1), new).regressions if c.subject == "nebula mesh")
    assert (change.metric, change.named) == ("hole_punch_success", ("full-cone x full-cone",))
    assert abs(change.change) == pytest.approx(1 / 6)


def test_a_shift_in_few_cells_is_found_and_named() -> None:
    slower = {("full-cone", "full-cone"), ("full-cone", "port-restricted")}
    new = _worse_in(run_of(10, seed=2), slower, "rtt_p50_ms", lambda value: value * 1.3)
    comparison = compare(run_of(10, seed=1), new)
    change = next(c for c in comparison.regressions if c.subject == "nebula mesh")
    assert set(change.named) == {" x ".join(pair) for pair in slower}
    assert {c.subject for c in comparison.regressions} - {ALL} == {"nebula mesh"}
    text = to_summary(comparison, "a", "b")
    assert "full-cone x full-cone (43" in text


def test_outliers_in_a_fifth_of_the_trials_are_found() -> None:
    new = run_of(10, seed=2)
    fifth = (
        new["repeat"].isin([0, 5])
        & (new["metric"].astype(str) == "rtt_p50_ms")
        & (new["overlay"].astype(str) == "nebula")
    )
    new = new.assign(value=new["value"].where(~fifth, new["value"] * 5))
    change = next(c for c in compare(run_of(10, seed=1), new).regressions if c.subject == "nebula mesh")
    assert change.metric == "rtt_p50_ms" and change.outliers_worse
    assert change.outliers == (0.0, pytest.approx(0.2))


def test_a_drop_that_is_not_yet_certain_is_said_to_be_one() -> None:
    """A 30-point drop in one cell, interval [-60, -2], was "no difference found"."""
    base = run_of(10, seed=1)
    cell = (base["nat_a"].astype(str) == "full-cone") & (base["nat_b"].astype(str) == "full-cone")
    base = base[cell & base["overlay"].isin(["nebula", "refmesh"])]
    missed = base["repeat"].isin([1, 2, 3, 4, 5]) & (base["overlay"].astype(str) == "nebula")
    missed &= base["metric"].astype(str) == "hole_punch_success"
    new = base.assign(value=base["value"].where(~missed, 0.0))
    comparison = compare(base, new)
    assert verdict(comparison, "nebula mesh", "hole_punch_success") == "worse, not yet certain"
    assert comparison.repeats_needed is not None and comparison.repeats_needed > 10
    assert " got worse, but not yet with certainty" in verdict_line(comparison)
    assert "repeats per cell (--repeat) would show changes of twice the minimum effect" in verdict_line(comparison)


def test_a_daemon_that_fails_is_a_regression_and_what_it_no_longer_measures_is_listed() -> None:
    """10 of 10 trials failed, and `compare` found no regression: the throughput's rows were gone without a word."""
    base, new = run_of(10, seed=1), run_of(10, seed=2)
    mine = new["overlay"].astype(str) == "nebula"
    end = mine & (new["metric"].astype(str) == "duration_s")
    new["outcome"] = new["outcome"].astype(str).where(~end, "failed")
    new = new[~(mine & (new["probe"].astype(str) == "throughput"))]
    comparison = compare(base, new)
    assert verdict(comparison, "nebula mesh", "trial_success") == "regression"
    assert "nebula mesh (6 cells): tcp_throughput_mbit, tcp_throughput_ratio" in comparison.matching.only_base
    assert any("only in the base: nebula mesh (6 cells): tcp" in remark for remark in remarks(comparison))


def test_ten_pairs_of_a_trial_that_become_six_are_found() -> None:
    """The median of a trial's pairs hid it: six direct pairs of ten are as good a median as ten."""
    runs = []
    for relayed in (frozenset(), frozenset({("p1", "p2"), ("p1", "p3"), ("p1", "p4"), ("p1", "p5")})):
        trials = [mesh_of_five(f"t{i}", relayed, repeat=i) for i in range(10)]
        runs.append(records_frame([record.as_dict() for trial in trials for record in trial]))
    change = next(c for c in compare(*runs).changes if c.metric == "hole_punch_success")
    assert (change.verdict, change.base, change.new) == ("regression", 1.0, 0.6)


@pytest.mark.parametrize("metric", ["stream_intact", "content_intact", "concurrent_jain_index", "handshake_bytes"])
def test_what_has_no_interface_and_what_parties_feel_is_compared_too(metric: str) -> None:
    better = metric_of(metric).better == "lower"
    values = [100.0 + n if better else 1.0 - n / 1000 for n in range(8)]

    def run(scale: float) -> pd.DataFrame:
        maker = Maker()
        pair = {} if better or metric.startswith("concurrent") else {"src": "a", "dst": "b"}
        rows = []
        for number, value in enumerate(values):
            same = {"trial": f"t{number}", "repeat": number, "seed": number}
            found = round(value * scale) if metric.endswith("intact") else value * scale
            rows += [maker.one("p", metric, metric_of(metric).unit, found, **same, **pair)]
            rows += [maker.one("trial", "duration_s", "s", 9.0, **same)]
        return records_frame([row.as_dict() for row in rows])

    found = compare(run(1.0), run(20.0 if better else 0.1))
    assert [one.metric for one in found.regressions] == [metric]
