"""What was measured in a trial that then turned out to be invalid is kept, shown as such, and counts nowhere."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from result_samples import Maker

from harness.campaign.baselines import figures_that_count
from harness.campaign.outcomes import Context, records_of
from harness.overlay.registry import load_overlay, overlay_names
from harness.probes.measurement import Measurement
from harness.report.measured import all_tables
from harness.report.plots.latency import distributions
from harness.report.quality import quality_of
from harness.report.tables import overview, path_matrix
from harness.results.compare import compare
from harness.results.expectations import Expected, unmet
from harness.results.frame import records_frame
from harness.results.pairs import pairs_frame
from harness.results.record import Record
from harness.results.summary import summarise
from harness.scenario.load import load_scenario
from harness.scenario.plan import expand
from harness.trial.messages import Done

PAIR = {"overlay": "refmesh", "mode": "mesh", "nat_a": "full-cone", "nat_b": "symmetric"}
LATE = "link ra-internet up: 108 of 6605 frames over 1000 us late"


def spoilt(trial: list[Record], outcome: str, *, marked: bool) -> list[Record]:
    """Return the trial with another end; `marked`: each record says so, as measurements carry the outcome now."""
    end = replace(trial[-1], outcome=outcome, error=LATE)  # type: ignore[arg-type]
    return [replace(one, outcome=outcome) if marked else one for one in trial[:-1]] + [end]  # type: ignore[arg-type]


def frame_of(outcome: str, *, marked: bool) -> pd.DataFrame:
    """Three good runs of one cell and a fourth, far off, that came to that end."""
    maker = Maker()
    trials = [maker.trial(f"t{i}", **PAIR, repeat=i) for i in range(3)]
    other = [replace(one, value=9e6, path="relayed" if one.path else None) for one in maker.trial("bad", **PAIR)]
    trials.append(spoilt(other, outcome, marked=marked))
    return records_frame([record.as_dict() for trial in trials for record in trial])


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("outcome", ["invalid", "error"])
def test_no_statistic_takes_it(outcome: str, marked: bool) -> None:
    records = frame_of(outcome, marked=marked)
    summary = summarise(records).set_index("metric")
    subject = summary.drop(["tcp_throughput_mbit", "underlay_tcp_throughput_mbit", "tcp_throughput_ratio"])
    assert (subject["n"] == 3).all() and (subject[outcome] == 1).all()
    assert (subject["estimate"] < 1e6).all()
    trials = pairs_frame(records)
    row = next(iter(overview(trials).rows))
    assert (row[1], row[3], row[-1]) == ("3/3", "3 direct", f"1 {outcome}")
    assert "3 of 4 trials that count" in overview(trials).note
    assert path_matrix(trials).rows == (("full-cone x symmetric", "direct"),)
    change = next(one for one in compare(records, records).changes if one.metric == "rtt_p50_ms")
    assert change.trials == (3, 3)


def test_its_packets_are_in_no_distribution_but_its_lateness_is_told() -> None:
    records = frame_of("invalid", marked=True)
    trials = pairs_frame(records)
    samples = pd.concat(
        pd.DataFrame(
            {"trial": name, "src": "a", "dst": "b", "seq": range(100), "rtt_ms": 40.0 if name != "bad" else 900.0}
        )
        for name in trials["trial"]
    )
    data = distributions(samples, trials)
    assert (data["runs"] == 3).all() and data["rtt_high_ms"].max() == 40.0
    assert trials.set_index("trial")["link_lateness_p99_us"]["bad"] == 9e6
    quality = quality_of(records, trials)
    assert ("bad", "invalid", LATE) in quality.troubles.rows
    assert "9000000" in next(row for row in quality.figures.rows if "99th percentile" in row[0])[3]


def test_what_the_orchestrator_writes_carries_the_trials_outcome(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(
        "description: x\ntopology: two-sites\noverlays: {underlay: }\nprobes: [path, throughput]\n"
        "expect: [{path: direct}]\n"
    )
    (trial,) = expand(load_scenario(str(file), overlay_names()))
    overlay = load_overlay("underlay")
    ways = {"src": "a", "dst": "b"}
    measured = [
        Measurement(probe="path", metric="connect_success", unit="1", value=1, path="direct", **ways),
        Measurement(probe="path", metric="time_to_connect_s", unit="s", value=1, path="direct", **ways),
        Measurement(probe="path", metric="ready_to_connect_s", unit="s", value=1, path="direct", **ways),
        Measurement(probe="throughput", metric="tcp_throughput_mbit", unit="Mbit/s", value=50, **ways),
    ]
    context = Context("run", "cafe0123", overlay, None, "2026-11-23T12:00:00Z")
    ends = {}
    for outcome in ("ok", "failed", "invalid", "error"):
        done = Done(outcome=outcome, error=LATE, measurements=[asdict(one) for one in measured])  # type: ignore[arg-type]
        ends[outcome] = records_of(trial, done, 9.0, context)
    assert {one.outcome for one in ends["ok"]} == {"ok"}
    assert {one.outcome for one in ends["failed"][:-1]} == {"ok"}
    assert {one.outcome for one in ends["invalid"]} == {"invalid"}
    assert [one.value for one in ends["invalid"]] == [1, 1, 1, 50, 9.0]
    rates = {
        name: [key for key in figures_that_count(records) if key[0] == "tcp_throughput_mbit"]
        for name, records in ends.items()
    }
    one = [("tcp_throughput_mbit", "a", "b")]
    assert rates == {"ok": one, "failed": one, "invalid": [], "error": []}
    said = {name: unmet(Expected.of(trial), [one.as_dict() for one in records]) for name, records in ends.items()}
    assert said["ok"] == []
    (complaint,) = said["invalid"]
    assert "expected path direct, but the trial shows nothing, it is invalid" in complaint and LATE in complaint


def test_a_probe_that_was_not_run_is_a_dash_with_its_reason() -> None:
    why = "udp measures interface; here is stream alone"
    trial = [one for one in Maker(full=True).trial("t", **PAIR) if one.metric != "udp_goodput_mbit"]
    skipped = replace(trial[0], probe="udp", metric="udp_goodput_mbit", value=None, outcome="unsupported", error=why)
    records = records_frame([one.as_dict() for one in [skipped, *trial]])
    rows = pairs_frame(records)
    assert quality_of(records, rows).skipped.rows == (("refmesh mesh", "udp", why, "1"),)
    assert rows["udp_goodput_mbit"].isna().all() and set(rows["outcome"]) == {"ok"}
    assert "UDP (Mbit/s)" not in next(t for t in all_tables(rows) if t.title == "Delay and rates under load").header


def test_records_and_report_say_what_the_links_were_held_to() -> None:
    trial = [replace(one, link_backend="netem", link_accounts="nothing") for one in Maker().trial("t", **PAIR)]
    records = records_frame([one.as_dict() for one in trial])
    assert quality_of(records, pairs_frame(records)).backends == ["netem (accounted for: nothing)"]
    earlier = records_frame([replace(one, link_accounts=None).as_dict() for one in trial])
    assert quality_of(earlier, pairs_frame(earlier)).backends == ["netem"]


def test_a_cell_without_a_valid_trial_has_no_estimate() -> None:
    records = records_frame([one.as_dict() for one in spoilt(Maker().trial("t", **PAIR), "invalid", marked=False)])
    row = summarise(records).set_index("metric").loc["hole_punch_success"]
    assert (row["n"], row["invalid"]) == (0, 1) and np.isnan(row["estimate"])


def test_a_trial_that_fails_before_the_path_probe_has_censored_times(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text("description: x\ntopology: parties\noverlays: {refmesh: mesh}\nprobes: [path]\n")
    (trial,) = expand(load_scenario(str(file), overlay_names()))
    context = Context("run", "cafe0123", load_overlay("refmesh"), None, "2026-11-23T12:00:00Z")
    records = records_of(trial, Done(outcome="failed", error="died"), 9.0, context)
    assert {one.outcome for one in records} == {"failed"}
    times = [one for one in records if one.metric.startswith(("time_to_", "ready_to_"))]
    assert {one.value for one in times} == {None}
    assert len([one for one in times if one.src is not None]) == 4 * 3
    table = summarise(records_frame([one.as_dict() for one in records])).set_index("metric")
    for metric in ("time_to_connect_s", "ready_to_direct_s", "time_to_full_mesh_s"):
        assert np.isinf(table.loc[[metric], "estimate"]).all() and (table.loc[[metric], "n"] >= 1).all()


@pytest.mark.parametrize("name", overlay_names())
def test_no_product_is_asked_what_it_claims_of_all_pairs_together(name: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("description: x\ntopology: parties\noverlays: {refmesh: mesh}\nprobes: [path]\n")
    (trial,) = expand(load_scenario(str(file), overlay_names()))
    overlay = load_overlay(name)
    context = Context("run", "cafe0123", overlay, None, "2026-11-23T12:00:00Z")
    whole = Measurement(probe="path", metric="pairs_direct_ratio", unit="ratio", value=1.0, src=None, dst=None)
    done = Done(outcome="ok", measurements=[asdict(whole)])
    assert {one.path_claimed for one in records_of(trial.model_copy(update={"overlay": name}), done, 9.0, context)} == {
        None
    }
