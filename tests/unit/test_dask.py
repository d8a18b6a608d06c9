"""A campaign through a Dask scheduler with TLS: what is killed, frozen or gone loses nothing."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dask_cluster import Cluster, descendants
from fake_host import Heard
from pool_runs import labelled, lasting, plan

from harness.campaign.campaign import Campaign
from harness.errors import MissingPrerequisite
from harness.hosts.registry import kind_of
from harness.hosts.relay import IDLE_S
from harness.hosts.station_client import HostLost
from harness.results.store import RunFolder
from harness.scenario.load import POPULATIONS
from harness.simulation.load import load_population
from harness.simulation.networks import write_churn
from harness.simulation.remote import BATCH, work_on
from harness.simulation.run import prepare, simulate

distributed = pytest.importorskip("distributed", reason="pip install -e '.[dask]'")
# Against what hangs; how long it takes is for the machine to say.
pytestmark = pytest.mark.timeout(300)
SMALL = """\
description: small
access: {strict: {share: 1.0, routers: [port-restricted]}}
matrix: {technique: [plain], group: [2]}
worlds: 1
groups: 1
churn: {members: 3, networks: 2, seconds: 20, every_s: 10, up_s: 30, away_s: 5}
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    # Beside builds and pages that are drawn, a worker that was neither frozen nor killed took 12 s for its answer.
    monkeypatch.setenv("OVERLAYBENCH_HOST_SILENCE_S", "30")
    monkeypatch.setenv("OVERLAYBENCH_TLS", "")
    monkeypatch.setenv("FAKE_TRIAL_S", "0.3")
    made = Cluster(tmp_path, {})
    try:
        made.start_scheduler()
        yield made
    finally:
        made.close()


def run(cluster: Cluster, out: Path, heard: Heard, repeats: int = 2) -> Any:
    planned = plan(cluster.folder, repeats)
    pool: Any = kind_of(cluster.address).open(cluster.address, label=str(out), jobs=1, overlays={})
    try:
        pool.require(planned.trials, planned.overlays)
        folder = RunFolder(out)
        if not out.exists():
            folder.create({"schema": 2, "run": "r"}, [])
        left = [trial for trial in planned.trials if trial.id not in folder.finished_trials()]
        try:
            Campaign(
                folder=folder, run="r", overlays=planned.overlays, host=pool, facts=pool.describe(), progress=heard
            ).run(left)
        finally:
            folder.close()
    finally:
        pool.release()
    return pool


def command_line(pid: int) -> str:
    """Return a living process's words, empty for one that has ended."""
    try:
        return Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


class At(Heard):
    """Does something when so many trials have ended."""

    def __init__(self, **what: Any) -> None:
        super().__init__()
        self.what = {int(key[1:]): act for key, act in what.items()}
        self.count = 0

    def ended(self, *args: Any) -> None:
        super().ended(*args)
        self.count += 1
        if self.count in self.what:
            self.what[self.count]()


def test_workers_that_are_killed_and_frozen_lose_nothing(cluster: Cluster, tmp_path: Path) -> None:
    for name in ("rack1", "rack2", "rack3"):
        cluster.start_worker(name)
    cluster.until(lambda: all("Registered to" in cluster.said(f"rack{k}") for k in (1, 2, 3)))
    frozen: list[int] = []

    def freeze(name: str) -> list[int]:
        cluster.freeze(name)
        return descendants(cluster.processes[name].pid)

    heard = At(n4=lambda: cluster.kill("rack1"), n12=lambda: frozen.extend(freeze("rack2")))
    pool = run(cluster, tmp_path / "run", heard)
    records = RunFolder(tmp_path / "run").read()
    assert len(records.finished) == 36 and not records.problems
    assert len(lasting(tmp_path / "run")) == 2 * 36, "each record once"
    assert any(said.startswith("rack3: measuring") for said in heard.said), "steps come back, with their host"
    lost = {one["host"] for one in pool.account()["hosts_lost"]}
    assert lost == {"rack1", "rack2"} and len(pool.account()["hosts_lost"]) <= 8, "what was in flight, no more"
    assert (tmp_path / "run" / "trials" / "underlay_full-cone_full-cone_r1" / "seed.log").exists()
    stations = [line for line in map(command_line, frozen) if "fake_station" in line]
    assert stations, "a machine that freezes takes its station with it, which lives on until it goes on"
    cluster.go_on("rack2")
    # A question that reached the frozen worker is asked now, and its station waits for others from then on.
    cluster.until(lambda: not labelled(tmp_path / "run"), IDLE_S + 60)


def test_a_scheduler_that_is_killed_ends_the_run_and_others_finish_it(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    cluster.start_worker("rack1")
    heard = At(n6=lambda: cluster.kill("scheduler"))
    with pytest.raises(HostLost, match="all hosts are lost, and none comes back"):
        run(cluster, tmp_path / "run", heard)
    before = RunFolder(tmp_path / "run").finished_trials()
    assert 6 <= len(before) < 36
    cluster.until(lambda: not labelled(tmp_path / "run"), IDLE_S + 60)
    cluster.start_scheduler()
    cluster.start_worker("another")
    run(cluster, tmp_path / "run", Heard())
    assert len(lasting(tmp_path / "run")) == 2 * 36
    with pytest.raises(MissingPrerequisite, match=r"a Dask scheduler with a worker at tls://127\.0\.0\.1:1 "):
        kind_of("tls://127.0.0.1:1").open("tls://127.0.0.1:1", label="x", jobs=1, overlays={})


@pytest.mark.nightly  # one that is killed ends it as well, and a station that stands still its worker
def test_a_scheduler_that_stands_still_ends_the_run(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its connections stand as if nothing had happened: nobody but a clock can tell."""
    caplog.set_level(logging.ERROR)
    cluster.start_worker("rack1")
    heard = At(n6=lambda: cluster.kill("scheduler", signal.SIGSTOP))
    with pytest.raises(HostLost, match=r"all hosts are lost, and none comes back: the scheduler tls://.* is lost"):
        run(cluster, tmp_path / "run", heard)
    assert 6 <= len(RunFolder(tmp_path / "run").finished_trials()) < 36


def test_simulated_worlds_are_the_same_wherever_they_run(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start_worker("rack1")
    loaded = load_population("levels", POPULATIONS)
    loaded = replace(loaded, population=loaded.population.model_copy(update={"worlds": 1, "groups": 1}))

    class Counting:
        worlds = 0

        def advance(self, worlds: int) -> None:
            self.worlds += worlds

    ran = {}
    for hosts in (None, cluster.address):
        counted, out = Counting(), tmp_path / str(hosts is None)
        folder, left = prepare(loaded, out, resume=False)
        simulate(loaded, folder, left, 1, counted, hosts=hosts)
        assert counted.worlds == len(left) > 2 * BATCH
        ran[hosts] = (out / "records.jsonl").read_bytes()
    assert ran[cluster.address] == ran[None]
    mine = tmp_path / "small.yaml"
    mine.write_text(SMALL)
    small = load_population(str(mine), POPULATIONS)
    texts = {}
    for hosts in (None, cluster.address):
        path = tmp_path / f"churn-{hosts is None}.csv"
        # Nothing of it runs here where a scheduler is given.
        write_churn(small, path, 1 if hosts is None else 0, Counting(), hosts=hosts)
        texts[hosts] = path.read_text()
    assert texts[cluster.address] == texts[None] and len(texts[None].splitlines()) > 4
    answer = json.loads(work_on(json.dumps({"commit": "another", "code": None, "numbers": []})))
    assert "overlaybench on the hosts is another: commit there is" in answer["error"]
