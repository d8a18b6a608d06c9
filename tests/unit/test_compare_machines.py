"""Comparing runs of other machines, of a machine that has become slower, or with other settings around them."""

from pathlib import Path

import pandas as pd
import pytest
from compared_runs import run_of, verdict

from harness.probes.registry import probes
from harness.results.compare import compare
from harness.results.differences import differences
from harness.results.loading import Results


def test_another_machine_leaves_absolutes_out() -> None:
    comparison = compare(run_of(seed=1), run_of(seed=2), same_machine=False)
    machines = {"rtt_p50_ms", "tcp_throughput_mbit", "tcp_throughput_ratio"}
    assert {change.metric for change in comparison.changes}.isdisjoint(machines)
    assert "loss_ratio" in {change.metric for change in comparison.changes}


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
    assert "probe path had different settings (deadline_s 5.0 and 15.0): its metrics are not compared" in found.remarks
    assert set(found.left_out) == {metric.name for metric in probes()["path"].metrics}
    assert {"connect_success", "hole_punch_success", "time_to_connect_s", "time_to_direct_s"} <= set(found.left_out)
    comparison = compare(run_of(seed=1), run_of(seed=2), without=found.left_out)
    assert {change.metric for change in comparison.changes}.isdisjoint(found.left_out)
    assert not differences(base, _folder(machine | {"cpu_model": "y"}, path)).same_machine


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
    assert (
        "hosts differ: 2 x x, 2, x86_64 in the base; 1 x x, 2, x86_64 and 1 x y, 2, x86_64 in the new run"
        in found.remarks
    )


def test_a_machine_of_another_kind_improves_no_processor_time() -> None:
    base, new = run_of(6, seed=1, full=True), _loaded(run_of(6, seed=2, full=True), 0.4, {"cpu_s_per_gb"})
    assert verdict(compare(base, new), "nebula mesh", "cpu_s_per_gb") == "improvement"
    assert "cpu_s_per_gb" not in {change.metric for change in compare(base, new, same_machine=False).changes}
