"""Comparing two runs: finds what changed, does not cry wolf, and says what it could not have seen."""

import functools

import numpy as np
import pandas as pd
import pytest
from result_samples import Maker
from scipy import stats

from harness.results.changes import Rule
from harness.results.compare import ALL, Comparison, compare
from harness.results.frame import records_frame
from harness.results.pairing import match
from harness.results.statistics import holm


@functools.cache
def _run_of(repeats: int, settings: tuple[tuple[str, object], ...]) -> pd.DataFrame:
    trials = Maker(**dict(settings)).campaign(repeats)  # type: ignore[arg-type]
    return records_frame([record.as_dict() for trial in trials for record in trial])


def run_of(repeats: int = 2, **settings: object) -> pd.DataFrame:
    """A made-up run; a copy, since making one takes longer than comparing two."""
    return _run_of(repeats, tuple(sorted(settings.items()))).copy()


def verdict(comparison: Comparison, subject: str, metric: str) -> str:
    found = [c.verdict for c in comparison.changes if c.subject.startswith(subject) and c.metric == metric]
    assert len(found) == 1, found
    return found[0]


def test_a_slower_overlay_is_a_regression_and_the_underlay_is_not() -> None:
    comparison = compare(run_of(seed=1), run_of(seed=2, slower_ms=8))
    assert verdict(comparison, "refmesh mesh", "rtt_p50_ms") == "regression"
    assert verdict(comparison, "refmesh mesh", "added_rtt_p50_ms") == "regression"
    assert verdict(comparison, "underlay", "rtt_p50_ms") == "no difference found"
    assert verdict(comparison, "refmesh mesh", "tcp_throughput_ratio") == "no difference found"
    change = next(c for c in comparison.regressions if c.subject.startswith("refmesh mesh"))
    assert change.change == pytest.approx(8, abs=0.5)
    assert change.low < 8 < change.high
    assert change.delta == 1.0


def test_the_other_way_round_it_is_an_improvement() -> None:
    comparison = compare(run_of(seed=1, slower_ms=8), run_of(seed=2))
    assert verdict(comparison, "refmesh mesh", "rtt_p50_ms") == "improvement"
    assert comparison.regressions == []


def test_one_run_each_shows_a_change_over_all_subjects_but_blames_none() -> None:
    comparison = compare(run_of(1, seed=1), run_of(1, seed=2, slower_ms=8))
    assert verdict(comparison, ALL, "rtt_p50_ms") == "regression"
    assert verdict(comparison, "refmesh mesh", "rtt_p50_ms") == "undecided"
    assert comparison.pairs_needed > 6


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


def test_another_link_is_compared_and_said() -> None:
    other = run_of(seed=2)
    other["link"] = "slow"
    matching = compare(run_of(seed=1), other).matching
    assert matching.changed == {"link": ("dsl", "slow")}
    assert matching.only_base == []


def test_cells_of_one_run_alone_are_named() -> None:
    base, new = run_of(seed=1), run_of(seed=2)
    new = new[new["overlay"].astype(str) != "nebula"]
    comparison = compare(base, new)
    assert any("nebula" in cell for cell in comparison.matching.only_base)
    assert not any(change.subject.startswith("nebula") for change in comparison.changes)


def test_pairs_share_cell_and_seed() -> None:
    base, new = run_of(3, seed=1), run_of(3, seed=2)
    pair = next(p for p in match(base, new, frozenset({"rtt_p50_ms"})).pairs if p.subject[0] == "openvpn")
    assert pair.base.size == 18
    assert len(set(pair.blocks)) == 6
    mine = base[(base["overlay"] == "openvpn") & (base["metric"] == "rtt_p50_ms")]
    assert sorted(pair.base) == pytest.approx(sorted(mine["value"]))


def test_other_seeds_are_paired_by_repeat_and_it_is_known() -> None:
    new = run_of(seed=2)
    new["seed"] = new["seed"] + 5000
    matching = match(run_of(seed=1), new, frozenset({"rtt_p50_ms"}))
    assert not matching.by_seed
    assert all(pair.base.size == 12 for pair in matching.pairs)


def test_both_directions_of_a_trial_are_one_pair() -> None:
    pairs = match(run_of(1, seed=1), run_of(1, seed=2), frozenset({"tcp_throughput_mbit"})).pairs
    assert {pair.base.size for pair in pairs} == {6}


def test_another_machine_leaves_absolutes_out() -> None:
    comparison = compare(run_of(seed=1), run_of(seed=2), same_machine=False)
    assert {change.metric for change in comparison.changes}.isdisjoint({"rtt_p50_ms", "tcp_throughput_mbit"})
    assert "tcp_throughput_ratio" in {change.metric for change in comparison.changes}


def test_false_alarms_are_rarer_than_alpha_without_the_minimum_effect() -> None:
    """Without any minimum effect the test alone must keep its promise; 7 of 30 would be more than four times alpha."""
    keep = {"rtt_p50_ms", "time_to_direct_s", "tcp_throughput_ratio"}
    run = run_of(2)
    run = run[run["metric"].astype(str).isin(keep)]
    # Noise large against what tells the subjects apart, the same for both sides; what is censored (NaN) stays so.
    scale = run["metric"].astype(str).map({"rtt_p50_ms": 3.0, "time_to_direct_s": 3.0, "tcp_throughput_ratio": 0.02})
    rng = np.random.default_rng(1)

    def noisy() -> pd.DataFrame:
        return run.assign(value=run["value"] + scale * np.abs(rng.standard_normal(len(run))))

    alarms = 0
    for _ in range(30):
        comparison = compare(noisy(), noisy(), Rule(min_effect=0))
        alarms += any(c.p_corrected < 0.05 and c.p_worse < c.p_better for c in comparison.changes)
    assert stats.binomtest(alarms, 30, 0.05, alternative="greater").pvalue > 0.001


def _loaded(run: pd.DataFrame, factor: float, metrics: set[str]) -> pd.DataFrame:
    slow = run["metric"].astype(str).isin(metrics)
    return run.assign(value=run["value"].where(~slow, run["value"] * factor))


def test_what_the_machine_itself_explains_is_not_called() -> None:
    base, new = run_of(4, seed=1), run_of(4, seed=2)
    ready = _loaded(new, 1.8, {"time_to_ready_s"})
    assert verdict(compare(base, ready), "refmesh mesh", "time_to_ready_s") == "regression"
    loaded = _loaded(new, 1.8, {"time_to_ready_s", "lab_start_s"})
    comparison = compare(base, loaded)
    assert comparison.regressions == []
    assert verdict(comparison, "refmesh mesh", "time_to_ready_s") == "machine moved"
    assert comparison.shift.ratios["lab_start_s"] == pytest.approx(1.8, rel=0.05)
    assert comparison.shift.factor == pytest.approx(1.8**2, rel=0.1)


def test_lost_connections_are_never_explained_by_the_machine() -> None:
    new = _loaded(run_of(4, seed=2), 5.0, {"lab_start_s"})
    failed = (new["overlay"] == "nebula") & (new["metric"].astype(str) == "connect_success")
    new = new.assign(value=new["value"].where(~failed, 0.0))
    assert verdict(compare(run_of(4, seed=1), new), "nebula mesh", "connect_success") == "regression"


def test_slower_links_that_were_declared_are_no_shift_of_the_machine() -> None:
    rtts = {"rtt_p50_ms", "underlay_rtt_p50_ms"}
    slower = _loaded(run_of(4, seed=2), 3.0, rtts)
    same_label = compare(run_of(4, seed=1), slower)
    assert verdict(same_label, "refmesh mesh", "rtt_p50_ms") == "machine moved"
    slower["link"] = "slow"
    assert verdict(compare(run_of(4, seed=1), slower), "refmesh mesh", "rtt_p50_ms") == "regression"


def test_holm_against_the_worked_example() -> None:
    # m = 4: 4 * 0.01, 3 * 0.013, 2 * 0.014 (kept at the larger before it), 1 * 0.19.
    assert holm([0.01, 0.013, 0.19, 0.014]) == pytest.approx([0.04, 0.04, 0.19, 0.04])
    assert holm([]) == []
    assert np.all(np.asarray(holm([0.9, 0.8])) <= 1)
