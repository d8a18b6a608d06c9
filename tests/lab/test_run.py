"""The main job through the real command line: files as promised, failures as promised, nothing left behind."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from harness.link.hoststack import ALLOWED_CONGESTION_CONTROL, differences, node_sysctls, pick_congestion_control
from harness.results.record import Record
from tests.lab.running import (
    OVERLAYBENCH,
    machine_state,
    overlaybench,
    processes_naming,
    records,
    without_privileges,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from extension import install

pytestmark = pytest.mark.lab

PATH_ONLY = """\
description: paths only
topology: two-sites
params: {nat_a: full-cone, nat_b: port-restricted}
overlays:
  underlay:
  refmesh: [mesh, relay]
probes: {path: {deadline_s: 30}}
expect:
  - when: {mode: [underlay, mesh]}
    path: direct
  - when: {mode: relay}
    path: relayed
"""


def test_smoke_writes_what_the_result_folder_promises(smoke: Path) -> None:
    names = {path.name for path in smoke.iterdir()}
    assert {
        "manifest.json",
        "plan.json",
        "records.jsonl",
        "records.parquet",
        "summary.csv",
        "report.html",
        "trials",
    } <= names
    fields = list(Record.__dataclass_fields__)
    lines = records(smoke)
    assert all(list(line) == fields for line in lines)
    frame = pd.read_parquet(smoke / "records.parquet")
    assert list(frame.columns)[: len(fields)] == fields
    assert len(frame) == len(lines)
    with (smoke / "summary.csv").open() as file:
        columns = set(next(csv.reader(file)))
    assert {"metric", "n", "estimate", "ci_low", "ci_high", "unit", "method"} <= columns
    manifest = json.loads((smoke / "manifest.json").read_text())
    assert {
        "schema",
        "scenario_text",
        "seed",
        "overlay_versions",
        "tool_versions",
        "machine",
        "command",
    } <= manifest.keys()
    assert manifest["machine"]["cpus"] == os.cpu_count()
    assert manifest["labels"] == {"commit": "1a2b"}


def test_smoke_measured_what_it_says(smoke: Path) -> None:
    by_metric: dict[str, list[dict[str, object]]] = {}
    for line in records(smoke):
        by_metric.setdefault(f"{line['overlay']} {line['metric']}", []).append(line)
    assert [line["path"] for line in by_metric["refmesh connect_success"]] == ["direct"]
    assert [line["value"] for line in by_metric["refmesh hole_punch_success"]] == [1.0]
    assert {(line["src"], line["dst"]) for line in by_metric["refmesh tcp_throughput_mbit"]} == {("a", "b"), ("b", "a")}
    assert "refmesh added_rtt_p50_ms" in by_metric
    for line in records(smoke):
        if line["evidence"] is not None:
            assert (smoke / str(line["evidence"])).exists(), line
    underlay, refmesh = by_metric["underlay duration_s"][0], by_metric["refmesh duration_s"][0]
    assert underlay["seed"] == refmesh["seed"]
    rules = (smoke / "trials" / str(refmesh["trial"]) / "ra.nft").read_text()
    assert "ra-eth0" in rules


def test_smoke_says_how_its_nodes_and_links_were_set(smoke: Path) -> None:
    manifest = json.loads((smoke / "manifest.json").read_text())
    (backend,) = manifest["link_backends"]
    sysctls = manifest["lab_sysctls"]
    chosen = pick_congestion_control(sysctls[ALLOWED_CONGESTION_CONTROL])
    assert differences(node_sysctls(chosen), sysctls) == []
    (trial,) = {line["trial"] for line in records(smoke) if line["overlay"] == "refmesh"}
    folder = smoke / "trials" / str(trial)
    # The helper in C cuts bundles as a card does; for the other backends nodes hand over single frames.
    offloads = json.loads((folder / "offloads.json").read_text())
    cut = backend == "userlink"
    assert offloads["ra"]["ra-eth0"] == {"tso": cut, "gso": cut, "gro": False, "tx": cut}
    assert offloads["a"]["a-eth0"]["tso"] is True, "an unimpaired cable keeps what it has"
    links = json.loads((folder / "links.json").read_text())
    assert links["backend"] == backend
    assert links["applied"].keys() == links["links"].keys() == {"ra-internet", "rb-internet", "s-internet"}
    assert links["applied"]["ra-internet"]["up"]["delay_ms"] == 2
    assert links["links"]["ra-internet"]["up"]["sent"] > 100
    assert links["links"]["ra-internet"]["up"]["lateness_p99_us"] > 0


def test_side_by_side_without_privileges(tmp_path: Path) -> None:
    """Three trials at once, as an ordinary user; what was expected is met."""
    tmp_path.chmod(0o777)
    for parent in list(tmp_path.parents)[:3]:
        if os.geteuid() == 0 and parent != Path("/tmp"):
            parent.chmod(0o755)
    scenario = tmp_path / "paths.yaml"
    scenario.write_text(PATH_ONLY)
    scenario.chmod(0o644)
    out = tmp_path / "run"
    done = overlaybench(
        *("run", str(scenario), "--out", str(out), "--no-report", "--jobs", "3"),
        prefix=without_privileges(),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "manifest.json").read_text())["privileged"] is False
    assert {line["outcome"] for line in records(out) if line["probe"] == "trial"} == {"ok"}
    assert processes_naming(str(out)) == []


@pytest.mark.waits
def test_an_expectation_that_fails_is_exit_1(tmp_path: Path) -> None:
    scenario = tmp_path / "wrong.yaml"
    scenario.write_text(PATH_ONLY.replace("path: direct", "path: relayed"))
    done = overlaybench("run", str(scenario), "--out", str(tmp_path / "run"), "--no-report", "--only", "mode=mesh")
    assert done.returncode == 1
    assert "refmesh_mesh_r1: a to b: expected path relayed, it was direct" in done.stderr


DYING = """
from overlays.refmesh.adapter import RefmeshAdapter


class Dying(RefmeshAdapter):
    name = "dying"

    def render(self, trial):
        deployment = super().render(trial)
        files = (
            file.model_copy(update={"text": file.text + "mtu: 20\\n"}) if file.path == "refmesh.yaml" else file
            for file in deployment.files
        )
        return deployment.model_copy(update={"files": tuple(files)})
"""


@pytest.mark.waits
def test_a_daemon_that_dies_fails_its_trial_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration that the daemon itself refuses: evidence is the end of its log, the campaign goes on."""
    environment = install(tmp_path, group="overlaybench.overlays", name="dying", source=DYING, attribute="Dying")
    monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
    scenario = tmp_path / "dies.yaml"
    scenario.write_text(PATH_ONLY.replace("refmesh: [mesh, relay]", "dying: mesh").partition("expect:")[0])
    out = tmp_path / "run"
    done = overlaybench("run", str(scenario), "--out", str(out), "--no-report")
    assert done.returncode == 0, done.stderr
    by_overlay = {line["overlay"]: line for line in records(out) if line["probe"] == "trial"}
    assert by_overlay["underlay"]["outcome"] == "ok"
    assert by_overlay["dying"]["outcome"] == "failed"
    assert "mtu" in by_overlay["dying"]["error"]
    punched = [line for line in records(out) if line["metric"] == "hole_punch_success"]
    assert [(line["value"], line["outcome"]) for line in punched] == [(0.0, "failed")]
    looked = (out / by_overlay["dying"]["evidence"] / "failure.txt").read_text()
    assert "# ra: nft list ruleset\ntable ip nat_v4 {" in looked, "what the nodes were like when it failed"
    assert "# b: ss -anp" in looked
    assert not (out / by_overlay["underlay"]["evidence"] / "failure.txt").exists()


@pytest.mark.waits
def test_a_mode_that_a_product_lacks_is_unsupported(tmp_path: Path) -> None:
    scenario = tmp_path / "lacks.yaml"
    scenario.write_text(PATH_ONLY.partition("overlays:")[0] + "overlays: {openvpn: mesh}\nprobes: [path]\n")
    out = tmp_path / "run"
    assert overlaybench("run", str(scenario), "--out", str(out), "--no-report").returncode == 0
    assert [(line["probe"], line["outcome"]) for line in records(out)] == [("trial", "unsupported")]


@pytest.mark.waits
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "SIGINT"])
def test_killed_leaves_nothing_and_resumes(tmp_path: Path, number: signal.Signals) -> None:
    scenario = tmp_path / "paths.yaml"
    scenario.write_text(PATH_ONLY)
    out = tmp_path / "run"
    before = machine_state()
    # Without a report, which a run that is interrupted would draw before it ends.
    argv = [*OVERLAYBENCH, "run", str(scenario), "--out", str(out), "--no-report", "--jobs", "1"]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    # The event: the second trial's daemons are there, so a lab stands and a result is on the disk.
    while time.monotonic() < deadline and not (
        (out / "records.jsonl").exists()
        and b"\n" in (out / "records.jsonl").read_bytes()
        and len(list((out / "trials").glob("*/nodes/*"))) >= 3
    ):
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    if number == signal.SIGINT:
        assert "are kept in" in said
        assert process.returncode == 130
    deadline = time.monotonic() + 60
    while processes_naming(str(out)) and time.monotonic() < deadline:
        time.sleep(0.02)  # the kernel reaps the namespaces
    assert processes_naming(str(out)) == []
    assert machine_state() == before
    kept = {line["trial"] for line in records(out)}
    assert kept
    done = overlaybench("run", str(scenario), "--out", str(out), "--resume")
    assert done.returncode == 0, done.stderr
    ends = [line["trial"] for line in records(out) if line["probe"] == "trial"]
    assert sorted(ends) == ["refmesh_mesh_r1", "refmesh_relay_r1", "underlay_r1"]


@pytest.mark.waits
def test_workers_that_are_killed_cost_their_own_trials_only(tmp_path: Path) -> None:
    """The process that forks the workers dies in the middle: its trial is our error, the rest still runs."""
    scenario = tmp_path / "paths.yaml"
    scenario.write_text(PATH_ONLY)
    out = tmp_path / "run"
    argv = [*OVERLAYBENCH, "run", str(scenario), "--out", str(out), "--no-report", "--jobs", "1"]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(out.glob("trials/*/nodes/*")):
        time.sleep(0.02)
    fork_server = processes_naming(f"harness.trial.fork_server {out}")[0]
    os.kill(fork_server, signal.SIGKILL)
    _, said = process.communicate(timeout=90)
    assert process.returncode == 4
    assert "the worker ended with status -9" in said
    outcomes = sorted(line["outcome"] for line in records(out) if line["probe"] == "trial")
    assert outcomes == ["error", "ok", "ok"]
    assert processes_naming(str(out)) == []


@pytest.mark.waits
def test_resume_refuses_another_scenario(tmp_path: Path) -> None:
    scenario = tmp_path / "paths.yaml"
    scenario.write_text(PATH_ONLY)
    out = tmp_path / "run"
    assert (
        overlaybench("run", str(scenario), "--out", str(out), "--no-report", "--only", "mode=underlay").returncode == 0
    )
    again = overlaybench("run", str(scenario), "--out", str(out), "--resume")
    assert again.returncode == 2
    assert "has another plan" in again.stderr
    scenario.write_text(PATH_ONLY.replace("paths only", "other"))
    assert overlaybench("run", str(scenario), "--out", str(out), "--resume").returncode == 2


def test_a_trial_plays_the_trace_that_lies_beside_its_scenario(tmp_path: Path) -> None:
    text = (
        PATH_ONLY.partition("expect:")[0]
        .replace("refmesh: [mesh, relay]", "")
        .replace(
            "nat_b: port-restricted}", "nat_b: port-restricted, link_a: {rate_file: cell.trace, queue_packets: 50}}"
        )
    )
    (tmp_path / "mine.yaml").write_text(text)
    (tmp_path / "cell.trace").write_text("1\n2\n3\n")
    done = overlaybench("run", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "run"), "--no-report")
    assert done.returncode == 0, done.stderr
    ((name, _),) = json.loads((tmp_path / "run" / "manifest.json").read_text())["traces"].items()
    assert (tmp_path / "run" / "traces" / name).read_text() == "1\n2\n3\n"
