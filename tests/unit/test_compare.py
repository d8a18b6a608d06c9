"""Comparing two runs: finds what changed, does not cry wolf, and says what it could not have seen."""

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from result_samples import Maker
from scipy import stats
from test_results_parties import mesh_of_five

from harness.probes.registry import probes
from harness.report.comparison import number as shown_number
from harness.report.comparison import remarks, to_json, to_summary, verdict_line
from harness.results.changes import Rule
from harness.results.compare import ALL, Comparison, compare
from harness.results.differences import differences
from harness.results.frame import records_frame
from harness.results.loading import Results
from harness.results.matching import match
from harness.results.metrics import metric_of
from harness.results.statistics import holm


@functools.cache
def _run_of(repeats: int, settings: tuple[tuple[str, object], ...]) -> pd.DataFrame:
    trials = Maker(**dict(settings)).campaign(repeats)  # type: ignore[arg-type]
    return records_frame([record.as_dict() for trial in trials for record in trial])


def run_of(repeats: int = 2, **settings: object) -> pd.DataFrame:
    """Return a made-up run; a copy, since making one takes longer than comparing two."""
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


def test_trials_are_matched_by_cell() -> None:
    base, new = run_of(3, seed=1), run_of(3, seed=2)
    sample = next(s for s in match(base, new, {"rtt_p50_ms"}).samples if s.subject == "openvpn hub")
    assert sample.trials == (18, 18) and len(sample.cells) == 6
    assert "full-cone x symmetric" in {cell.name for cell in sample.cells}
    mine = base[(base["overlay"] == "openvpn") & (base["metric"] == "rtt_p50_ms")]
    assert sorted(np.concatenate([cell.side(new=False) for cell in sample.cells])) == pytest.approx(
        sorted(mine["value"])
    )


def test_seeds_that_only_one_run_has_drop_nothing() -> None:
    new = run_of(3, seed=2)
    new["seed"] = new["seed"] + 1  # two of three are shared
    sample = match(run_of(3, seed=1), new, {"rtt_p50_ms"}).samples[0]
    assert sample.trials == (18, 18)
    fewer = new[new["repeat"] == 0]
    assert match(run_of(3, seed=1), fewer, {"rtt_p50_ms"}).samples[0].trials == (18, 6)


def test_both_directions_of_a_trial_are_one_value() -> None:
    samples = match(run_of(1, seed=1), run_of(1, seed=2), {"tcp_throughput_mbit"}).samples
    assert {cell.values.size for sample in samples for cell in sample.cells} == {2}


def test_another_machine_leaves_absolutes_out() -> None:
    comparison = compare(run_of(seed=1), run_of(seed=2), same_machine=False)
    assert {change.metric for change in comparison.changes}.isdisjoint({"rtt_p50_ms", "tcp_throughput_mbit"})
    assert "tcp_throughput_ratio" in {change.metric for change in comparison.changes}


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


def _loaded(run: pd.DataFrame, factor: float, metrics: set[str]) -> pd.DataFrame:
    slow = run["metric"].astype(str).isin(metrics)
    return run.assign(value=run["value"].where(~slow, run["value"] * factor))


def test_what_the_machine_itself_explains_is_not_called() -> None:
    base, new = run_of(6, seed=1), run_of(6, seed=2)
    ready = _loaded(new, 1.8, {"time_to_ready_s"})
    assert verdict(compare(base, ready), "refmesh mesh", "time_to_ready_s") == "regression"
    loaded = _loaded(new, 1.8, {"time_to_ready_s", "lab_start_s"})
    comparison = compare(base, loaded)
    assert comparison.regressions == []
    assert verdict(comparison, "refmesh mesh", "time_to_ready_s") == "machine moved"
    assert comparison.shift.ratios["lab_start_s"] == pytest.approx(1.8, rel=0.05)
    assert comparison.shift.factor("time_to_ready_s") == pytest.approx(1.8**2, rel=0.1)


def test_a_lab_that_was_slow_to_build_hides_no_delay_of_packets() -> None:
    """`lab_start` x 1.15 hid 30 % more round-trip time: each kind of figure has a control of its own."""
    slower = _loaded(run_of(6, seed=2), 1.15, {"lab_start_s"})
    rtt = (slower["overlay"].astype(str) == "nebula") & (slower["metric"].astype(str) == "rtt_p50_ms")
    slower = slower.assign(value=slower["value"].where(~rtt, slower["value"] * 1.3))
    assert verdict(compare(run_of(6, seed=1), slower), "nebula mesh", "rtt_p50_ms") == "regression"


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
    assert "more got worse, which is not yet certain" in verdict_line(comparison)
    assert "repeats a cell (--repeat) would decide what is open" in verdict_line(comparison)


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


def test_censored_changes_are_words_and_no_numbers() -> None:
    base, new = run_of(6, seed=1), run_of(6, seed=2)
    late = (new["overlay"].astype(str) == "nebula") & (new["metric"].astype(str) == "time_to_direct_s")
    new = new.assign(value=new["value"].where(~late, np.nan))
    comparison = compare(base, new)
    change = next(c for c in comparison.regressions if (c.subject, c.metric) == ("nebula mesh", "time_to_direct_s"))
    assert np.isinf(change.change)
    text = json.dumps(to_json(comparison), allow_nan=False)
    assert "1000000000.0" not in text and '"late"' in text and "| late " in to_summary(comparison, "a", "b")


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (1500.0, "B", "1500 B"),
        (-20.0, "B", "-20 B"),
        (1234567.0, "B", "1234567 B"),
        (1280.0, "count", "1280 count"),
        (0.98765, "1", "98.8 %"),
        (48.26, "Mbit/s", "48.3 Mbit/s"),
        (0.0123456, "s", "0.0123 s"),
    ],
)
def test_sizes_counts_and_shares_keep_their_digits(value: float, unit: str, shown: str) -> None:
    change = compare(run_of(1, seed=1), run_of(1, seed=2)).changes[0]
    assert shown_number(value, replace(change, unit=unit)) == shown


def test_nothing_judged_is_said() -> None:
    one = run_of(1, seed=1)
    one = one[(one["overlay"].astype(str) == "nebula") & (one["nat_a"].astype(str) == one["nat_b"].astype(str))]
    assert verdict_line(compare(one, one)).startswith("Nothing was judged")


def test_ten_pairs_of_a_trial_that_become_six_are_found() -> None:
    """The median of a trial's pairs hid it: six direct pairs of ten are as good a median as ten."""
    runs = []
    for relayed in (frozenset(), frozenset({("p1", "p2"), ("p1", "p3"), ("p1", "p4"), ("p1", "p5")})):
        trials = [mesh_of_five(f"t{i}", relayed, repeat=i) for i in range(10)]
        runs.append(records_frame([record.as_dict() for trial in trials for record in trial]))
    change = next(c for c in compare(*runs).changes if c.metric == "hole_punch_success")
    assert (change.verdict, change.base, change.new) == ("regression", 1.0, 0.6)


def _folder(machine: dict[str, object], probes: dict[str, object], **manifest: object) -> Results:
    plan = [{"id": "t", "probes": probes}]
    return Results(Path("x"), {"machine": machine, **manifest}, plan, run_of(1), ())


def test_what_differs_around_the_runs_is_named_and_other_deadlines_are_not_compared() -> None:
    machine: dict[str, object] = {"cpu_model": "x", "cpus": 2, "architecture": "arm", "kernel": "6.1", "load_1min": 0.1}
    path: dict[str, object] = {"path": {"deadline_s": 5.0}, "latency": {"duration_s": 2}}
    base = _folder(machine, path, lab_sysctls={"net.core.rmem_max": "1"}, overlay_versions={"nebula": "1.9"})
    other = machine | {"kernel": "6.18", "load_1min": 4.0}
    new = _folder(
        other,
        path | {"path": {"deadline_s": 15.0}},
        lab_sysctls={"net.core.rmem_max": "2"},
        overlay_versions={"nebula": "1.10"},
    )
    found = differences(base, new)
    assert found.same_machine
    for text in (
        "kernel differs: 6.1 and 6.18",
        "load when the runs began differs",
        "rmem_max in labs differs: 1 and 2",
    ):
        assert any(text in remark for remark in found.remarks), text
    assert "version of nebula differs: 1.9 and 1.10" in found.remarks
    assert "probe path was set otherwise (deadline_s 5.0 and 15.0): its metrics are left out" in found.remarks
    assert set(found.left_out) == {metric.name for metric in probes()["path"].metrics}
    assert {"connect_success", "hole_punch_success", "time_to_connect_s", "time_to_direct_s"} <= set(found.left_out)
    comparison = compare(run_of(seed=1), run_of(seed=2), without=found.left_out)
    assert {change.metric for change in comparison.changes}.isdisjoint(found.left_out)
    assert not differences(base, _folder(machine | {"cpu_model": "y"}, path)).same_machine


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


def test_the_hosts_of_a_merged_run_are_its_machines() -> None:
    """Half of the new run was made on another kind of machine, which its first shard's manifest does not show."""
    one, other = ({"cpu_model": name, "cpus": 2, "architecture": "x86_64"} for name in ("x", "y"))

    def merged(*machines: dict[str, object]) -> Results:
        folder = _folder(one, {})
        folder.manifest["hosts"] = {str(number): {"machine": machine} for number, machine in enumerate(machines)}
        return folder

    assert differences(merged(one), merged(one, one)).same_machine
    found = differences(merged(one, one), merged(one, other))
    assert not found.same_machine
    assert "hosts differ: 2 x x, 2, x86_64, against 1 x x, 2, x86_64 and 1 x y, 2, x86_64" in found.remarks


def test_a_machine_of_another_kind_improves_no_processor_time() -> None:
    base, new = run_of(6, seed=1, full=True), _loaded(run_of(6, seed=2, full=True), 0.4, {"cpu_s_per_gb"})
    assert verdict(compare(base, new), "nebula mesh", "cpu_s_per_gb") == "improvement"
    assert "cpu_s_per_gb" not in {change.metric for change in compare(base, new, same_machine=False).changes}
