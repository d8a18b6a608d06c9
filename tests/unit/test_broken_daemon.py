"""A daemon that connects as ever and loses its traffic under load breaks CI: `run`, pytest's rule and `compare` alike.

It was found so: an adapter that lost UDP above 3 MB/s had 10 of 10 trials `failed`, and everything passed.
"""

from __future__ import annotations

import html
import io
import json
from pathlib import Path
from typing import Any

import pytest
from fake_host import FACTS, FakeHost, Heard
from rich.console import Console

from harness.campaign.campaign import Campaign
from harness.commands.concluding import conclude
from harness.model.trial import Trial
from harness.report.comparison import remarks, to_summary
from harness.report.expected import judged
from harness.report.html import write_report
from harness.results.compare import compare
from harness.results.expectations import Expected
from harness.results.loading import load
from harness.results.run_judgement import RunJudgement, judge_run
from harness.results.store import RunFolder
from harness.scenario.planned import plan_trials
from harness.trial.messages import Done, Job

SCENARIO = """\
description: connects, then carries a load
topology: two-sites
overlays: {underlay: , refmesh: mesh}
probes: [path, throughput]
repeats: 10
expect:
  - path: direct
"""
LOST = "iperf3 a to b: control socket has closed unexpectedly"


def measured(job: Job, *, loses: bool) -> Done:
    same: dict[str, Any] = {"src": "a", "dst": "b", "path": "direct"}
    figures = [
        {"probe": "path", "metric": "connect_success", "unit": "1", "value": 1.0, **same, "evidence": "pings.csv"},
        {"probe": "path", "metric": "time_to_connect_s", "unit": "s", "value": 0.4 + job.trial.repeat / 100, **same},
        {"probe": "path", "metric": "hole_punch_success", "unit": "1", "value": 1.0, **same},
    ]
    if loses and job.trial.overlay == "refmesh":
        return Done(outcome="failed", error=LOST, measurements=figures)
    rate = {
        "probe": "throughput",
        "metric": "tcp_throughput_mbit",
        "unit": "Mbit/s",
        "value": 90.0,
        **same,
        "path": None,
    }
    return Done(outcome="ok", measurements=[*figures, rate])


def ran(folder: Path, scenario: str, *, loses: bool) -> tuple[Path, RunJudgement]:
    """Return a run whose trials end as if the daemon were so."""
    folder.mkdir()
    (folder / "load.yaml").write_text(scenario)
    planned = plan_trials(str(folder / "load.yaml"))
    kept = RunFolder(folder / "run")
    kept.create({"schema": 2, "run": folder.name}, [])
    host = FakeHost(lambda job: measured(job, loses=loses))
    Campaign(folder=kept, run="r", overlays=planned.overlays, host=host, facts=FACTS, progress=Heard()).run(
        planned.trials
    )
    kept.finish()
    kept.close()
    return kept.path, judge_run(map(Expected.of, planned.trials), kept.read().records)


def concluded(judgement: RunJudgement) -> tuple[int, str]:
    said = io.StringIO()
    return conclude(judgement, Console(file=said, width=300)), said.getvalue()


def test_run_fails_with_what_the_trial_itself_said(tmp_path: Path) -> None:
    assert concluded(ran(tmp_path / "sound", SCENARIO, loses=False)[1]) == (0, "judged: 20 of 20 trials\n")
    code, said = concluded(ran(tmp_path / "broken", SCENARIO, loses=True)[1])
    assert code == 1
    assert f"refmesh_mesh_r1: expected path direct, but the trial failed: {LOST}" in said
    assert said.count("not as expected") == 10


@pytest.mark.parametrize("expect", ["", "expect: [{when: {overlay: underlay}, path: direct}]\n"])
def test_a_run_that_does_not_judge_it_says_so(tmp_path: Path, expect: str) -> None:
    text = SCENARIO[: SCENARIO.index("expect:")] + expect
    code, said = concluded(ran(tmp_path / "broken", text, loses=True)[1])
    assert code == 0
    assert ("nothing of 20 trials (10 failed)" if not expect else "10 trials of which nothing was") in said


def test_failures_may_be_allowed_and_their_rate_be_bounded(tmp_path: Path) -> None:
    allowed = SCENARIO + "    outcome: [ok, failed]\n"
    assert concluded(ran(tmp_path / "allowed", allowed, loses=True)[1])[0] == 0
    bounded = allowed + "    trial_success: {min: 0.6}\n    tcp_throughput_mbit: {min: 20}\n"
    code, said = concluded(ran(tmp_path / "bounded", bounded, loses=True)[1])
    assert code == 1
    assert "not met: refmesh_mesh: expected trial_success at least 0.6, it was 0 (0 to 0.2775;" in said
    assert "not measured: refmesh_mesh: expected tcp_throughput_mbit at least 20 Mbit/s, it was never measured" in said


def test_compare_finds_the_failures_and_names_the_rows_that_one_side_lost(tmp_path: Path) -> None:
    base, new = (load(ran(tmp_path / name, SCENARIO, loses=name == "new")[0]).records for name in ("base", "new"))
    found = compare(base, new)
    assert ("refmesh mesh", "trial_success") in {(one.subject, one.metric) for one in found.regressions}
    assert not any(one.subject == "underlay" for one in found.regressions)
    lost = [line for line in remarks(found) if line.startswith("only in the base")]
    assert len(lost) == 1 and "refmesh mesh" in lost[0] and "tcp_throughput_mbit" in lost[0]
    assert "trial_success" in to_summary(found, "base", "new")


def test_the_page_says_what_the_exit_code_says(tmp_path: Path) -> None:
    bounded = SCENARIO + "    outcome: [ok, failed]\n    trial_success: {min: 0.6}\n"
    for name, scenario, loses, words in (
        ("sound", SCENARIO, False, "What the scenario expects: all met (judged: 20 of 20 trials)."),
        ("broken", SCENARIO, True, f"refmesh_mesh_r1: expected path direct, but the trial failed: {LOST}"),
        ("bounded", bounded, True, "not all met (judged: 20 of 20 trials, 1 number: 1 not met)"),
    ):
        folder, judgement = ran(tmp_path / name, scenario, loses=loses)
        plan = [trial.model_dump(mode="json", exclude={"topology"}) for trial in planned_in(folder.parent)]
        (folder / "plan.json").write_text(json.dumps(plan))
        assert judged(load(folder)) == judgement
        page = html.unescape(write_report(folder).read_text())
        assert words in " ".join(page.split()), name


def planned_in(folder: Path) -> list[Trial]:
    return plan_trials(str(folder / "load.yaml")).trials
