"""The campaign on a fake host: order, what is kept, interruption, a disk that fills. No lab, no process."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_host import FACTS, OK, FakeHost, Heard

from harness.campaign.campaign import Campaign
from harness.errors import StorageError
from harness.hosts.contract import OnStep
from harness.results.expectations import Expected
from harness.results.record import Record
from harness.results.run_judgement import judge_run
from harness.results.store import RunFolder
from harness.scenario.planned import Planned, plan_trials
from harness.trial.messages import Done, Job

SCENARIO = """\
description: x
topology: two-sites
matrix: {nat_a: [full-cone, symmetric]}
overlays: {underlay: , refmesh: [mesh, relay], openvpn: mesh}
probes: [path]
"""


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    (tmp_path / "mine.yaml").write_text(SCENARIO)
    return plan_trials(str(tmp_path / "mine.yaml"))


def campaign(tmp_path: Path, planned: Planned, host: FakeHost, heard: Heard | None = None) -> Campaign:
    folder = RunFolder(tmp_path / "run")
    folder.create({"schema": 2, "run": "r"}, [])
    return Campaign(
        folder=folder, run="r", overlays=planned.overlays, host=host, facts=FACTS, progress=heard or Heard()
    )


def ends(tmp_path: Path) -> dict[str, dict[str, Any]]:
    records = RunFolder(tmp_path / "run").read().records
    return {line["trial"]: line for line in records if line["probe"] == "trial"}


def test_every_trial_runs_once_and_no_more_at_a_time_than_the_host_takes(tmp_path: Path, planned: Planned) -> None:
    host, heard = FakeHost(slots=3), Heard()
    tally = campaign(tmp_path, planned, host, heard).run(planned.trials)
    able = [trial.id for trial in planned.trials if trial.overlay != "openvpn"]
    assert sorted(host.ran) == sorted(able) and host.most == 3 and host.closed
    assert tally.outcomes == {"ok": 6, "unsupported": 2} and not tally.interrupted
    assert set(ends(tmp_path)) == {trial.id for trial in planned.trials}
    for name in able:
        mine = [said for said in heard.said if name in said.split(":")[0].split()]
        assert mine == [f"began {name}", f"starting {name}", f"ended {name}: ok"]
    assert not any(said.startswith("began openvpn") for said in heard.said), "the host is not asked for it"


def test_records_say_on_which_host_and_behind_which_routers(tmp_path: Path, planned: Planned) -> None:
    campaign(tmp_path, planned, FakeHost()).run(planned.trials)
    line = ends(tmp_path)["refmesh_mesh_symmetric_r1"]
    assert line["host"] == FACTS.id
    assert {name: facts["nat"] for name, facts in line["pair"].items()} == {"a": "symmetric", "b": "port-restricted"}


def test_the_load_of_the_moment_is_no_other_host() -> None:
    busier = FACTS.model_copy(update={"machine": {"kernel": "6", "load_1min": 9}})
    newer = FACTS.model_copy(update={"machine": {"kernel": "7", "load_1min": 1}})
    assert busier.id == FACTS.id != newer.id


def test_a_trial_that_is_invalid_is_told_although_nothing_was_expected(tmp_path: Path, planned: Planned) -> None:
    late = Done(outcome="invalid", error="link ra-internet: 7 ms late")
    host = FakeHost(lambda job: late if job.trial.mode == "relay" else OK)
    campaign(tmp_path, planned, host).run(planned.trials)
    found = judge_run(map(Expected.of, planned.trials), RunFolder(tmp_path / "run").read().records)
    assert sorted(found.invalid) == [
        "refmesh_relay_full-cone_r1: link ra-internet: 7 ms late",
        "refmesh_relay_symmetric_r1: link ra-internet: 7 ms late",
    ]
    assert not found.complaints and not found.errors and not found.as_expected


def test_an_interrupted_campaign_ends_its_jobs_and_keeps_what_was_done(tmp_path: Path, planned: Planned) -> None:
    host = FakeHost(slots=1)
    host.hang_at = planned.trials[2].id
    tally = campaign(tmp_path, planned, host).run(planned.trials)
    assert tally.interrupted == signal.SIGINT and host.closed
    assert set(ends(tmp_path)) == {trial.id for trial in planned.trials[:2]}


def test_a_full_disk_stops_the_campaign_and_leaves_what_was_written(
    tmp_path: Path, planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = FakeHost(slots=1)
    run = campaign(tmp_path, planned, host)
    append, written = run.folder.append, 0

    def append_until_full(records: Sequence[Record]) -> None:
        nonlocal written
        if written == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(records)
        written += 1

    monkeypatch.setattr(run.folder, "append", append_until_full)
    with pytest.raises(StorageError, match=r"records\.jsonl: no space left on device; make room there") as error:
        run.run(planned.trials)
    assert error.value.exit_code == 3 and host.closed
    assert len(ends(tmp_path)) == 2


def test_a_trial_that_ran_out_of_disk_stops_the_run_and_is_run_again(tmp_path: Path, planned: Planned) -> None:
    full = Done(outcome="failed", error="iperf3: control socket has closed", cannot_write="no space left on device")
    host = FakeHost(lambda job: full if job.trial.id == planned.trials[1].id else OK, slots=1)
    with pytest.raises(StorageError, match="no space left on device"):
        campaign(tmp_path, planned, host).run(planned.trials)
    assert host.closed and set(ends(tmp_path)) == {planned.trials[0].id}


def test_trials_that_run_out_of_disk_in_the_same_moment_are_told_as_one(tmp_path: Path, planned: Planned) -> None:
    full = Done(outcome="failed", error="iperf3: control socket has closed", cannot_write="no space left on device")
    said: list[str] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: said.append(context["message"]))
        await campaign(tmp_path, planned, FakeHost(lambda _job: full, slots=3))._run(planned.trials)

    with pytest.raises(StorageError, match="no space left on device"):
        asyncio.run(run())
    gc.collect()
    assert said == []


def test_the_baseline_of_a_cell_is_found_again_when_the_run_goes_on(tmp_path: Path) -> None:
    text = SCENARIO.replace("probes: [path]", "probes: {throughput: {baseline: cell}}")
    (tmp_path / "cell.yaml").write_text(text.replace("openvpn: mesh", "openvpn: hub"))
    planned = plan_trials(str(tmp_path / "cell.yaml"))

    def measure(job: Job) -> Done:
        rate = 80.0 if job.trial.mode == "underlay" else 20.0
        figure = {"probe": "throughput", "metric": "tcp_throughput_mbit", "unit": "Mbit/s", "value": rate}
        return Done(outcome="ok", measurements=[{**figure, "src": "a", "dst": "b"}])

    first = campaign(tmp_path, planned, FakeHost(measure))
    first.run([trial for trial in planned.trials if trial.mode == "underlay"])
    first.folder.close()
    again = Campaign(
        folder=RunFolder(tmp_path / "run"),
        run="r",
        overlays=planned.overlays,
        host=FakeHost(measure),
        facts=FACTS,
        progress=Heard(),
    )
    again.run([trial for trial in planned.trials if trial.mode != "underlay"])
    ratios = [line for line in RunFolder(tmp_path / "run").read().records if line["metric"] == "tcp_throughput_ratio"]
    assert len(ratios) == 6 and {line["value"] for line in ratios} == {0.25}


def test_a_trial_that_ends_before_its_cells_underlay_is_compared_all_the_same(tmp_path: Path) -> None:
    text = SCENARIO.replace("probes: [path]", "probes: {throughput: {baseline: cell}}")
    (tmp_path / "cell.yaml").write_text(text.replace("openvpn: mesh", "openvpn: hub"))
    planned = plan_trials(str(tmp_path / "cell.yaml"))

    class SlowUnderlay(FakeHost):
        """The underlay's trials end when all others have."""

        async def run(self, job: Job, folder: Path, on_step: OnStep) -> Done:
            done = await super().run(job, folder, on_step)
            while job.trial.mode == "underlay" and len(self.ran) < len(planned.trials):
                await asyncio.sleep(0)
            return done

    def measure(job: Job) -> Done:
        rate = 80.0 if job.trial.mode == "underlay" else 20.0
        figure = {"probe": "throughput", "metric": "tcp_throughput_mbit", "unit": "Mbit/s", "value": rate}
        return Done(outcome="ok", measurements=[{**figure, "src": "a", "dst": "b"}])

    campaign(tmp_path, planned, SlowUnderlay(measure, slots=len(planned.trials))).run(planned.trials)
    ratios = [line for line in RunFolder(tmp_path / "run").read().records if line["metric"] == "tcp_throughput_ratio"]
    assert len(ratios) == 6 and {line["value"] for line in ratios} == {0.25}
