"""Looking inside a trial: a lab left standing with shells in its nodes, captures of nodes, what happens live."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.lab.capture import read_capture
from tests.lab.running import (
    NOBODY,
    OVERLAYBENCH,
    overlaybench,
    processes_naming,
    records,
    unprivileged_uid,
    without_privileges,
)

pytestmark = [pytest.mark.lab, pytest.mark.waits]

FAILING = """\
name: never
description: a daemon that never gets ready
layer: L3
modes: [hub]
services:
  - {name: "never-{{ node }}", on: members, run: [sleep, "1000"], ready: [{log: never}], deadline_s: 1}
endpoints: {address: "10.30.0.{{ node.number + 1 }}", interface: tun0}
"""
SCENARIO = """\
description: looked into
topology: two-sites
overlays: {./never.yaml: hub}
probes: {path: {deadline_s: 5}}
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that an ordinary user may write, with an overlay that fails and a scenario of it."""
    with tempfile.TemporaryDirectory(prefix="overlaybench-inside-") as made:
        path = Path(made)
        (path / "never.yaml").write_text(FAILING)
        (path / "mine.yaml").write_text(SCENARIO)
        path.chmod(0o755)
        if unprivileged_uid() != os.geteuid():
            os.chown(path, NOBODY, NOBODY)
        yield path


@contextlib.contextmanager
def paused(folder: Path, *prefix: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Start a run that pauses on its one trial; yield it and the trial's folder once it is paused, and end it."""
    argv = [*prefix, *OVERLAYBENCH, "run", "mine.yaml", "--out", str(folder / "run"), "--no-report", "--keep-failed"]
    run = subprocess.Popen(argv, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert run.stderr is not None
    said = []
    try:
        for line in run.stderr:
            said.append(line)
            if "never_hub_r1: paused: " in line:
                break
        else:
            raise AssertionError("".join(said))
        yield run, folder / "run" / "trials" / "never_hub_r1"
    finally:
        run.kill()
        run.wait(20)


def test_a_failed_trials_lab_is_entered_and_dies_with_the_run(folder: Path) -> None:
    with paused(folder) as (run, trial):
        named = overlaybench("enter", str(trial))
        assert {"a", "b", "s", "ra", "rb"} <= set(named.stdout.split()), named.stderr
        inside = overlaybench(
            "enter", str(trial), "a", "sh", "-c", "hostname; pwd; ip -br -4 address; cat /proc/*/comm"
        )
        assert inside.returncode == 0, inside.stderr
        host, here, *rest = inside.stdout.splitlines()
        assert (host, here) == ("a", str((trial / "nodes" / "a").resolve()))
        assert any("192.168." in line or "10." in line for line in rest) and "sleep" in rest
        argv = [*OVERLAYBENCH, "enter", str(trial), "rb", "sh", "-c", "echo there; exec sleep 1000"]
        shell = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert shell.stdout is not None and shell.stdout.readline() == "there\n"
        held = processes_naming(str(trial))
        run.send_signal(signal.SIGKILL)
        run.wait(20)
        assert shell.wait(20) != 0
        deadline = time.monotonic() + 20
        while (left := [pid for pid in held if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
            time.sleep(0.02)  # the kernel reaps the namespaces
        assert left == []
        wrong = overlaybench("enter", str(trial), "a")
        assert wrong.returncode != 0 and "Traceback" not in wrong.stderr


def test_an_ordinary_user_enters_and_lets_it_go_on(folder: Path) -> None:
    prefix = without_privileges()
    with paused(folder, *prefix) as (run, trial):
        inside = overlaybench("enter", str(trial), "ra", "nft", "list", "ruleset", prefix=prefix)
        assert inside.returncode == 0 and "table" in inside.stdout, inside.stderr
        wrong = overlaybench("enter", str(trial), "rs", prefix=prefix)
        assert (wrong.returncode, "did you mean" in wrong.stderr) == (2, True), wrong.stderr
        assert overlaybench("enter", str(trial), "--go-on", prefix=prefix).returncode == 0
        assert run.wait(30) == 0
        (last,) = [one for one in records(folder / "run") if one["probe"] == "trial"]
        assert last["outcome"] == "failed"
        again = overlaybench("enter", str(trial), "a", prefix=prefix)
        assert again.returncode == 2 and "is not paused" in again.stderr


def test_captures_and_what_happens_are_seen(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "description: looked into\ntopology: two-sites\noverlays: {refmesh: mesh}\n"
        "captures: {nodes: [a, rb], max_mb: 0.02}\n"
        "probes: {path: {deadline_s: 10}, throughput: {duration_s: 1, omit_s: 0}, continuity: {duration_s: 4}}\n"
        "timeline: [{at_s: 1, do: kill, to: s}]\n"
    )
    done = overlaybench("run", "mine.yaml", "--out", "run", "--no-report", "--live", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for said in ("refmesh_mesh_r1: building the lab", "path: a-b ", "event: kill s", ": now: a up ", "; a-b direct"):
        assert said in done.stderr, done.stderr
    kept = tmp_path / "run" / "trials" / "refmesh_mesh_r1" / "captures"
    account = json.loads((kept / "captures.json").read_text())
    seen = {}
    for node in ("a", "rb"):
        with (kept / f"{node}.pcapng").open("rb") as file:
            seen[node] = list(read_capture(file))
        assert len(seen[node]) == account[node]["frames"] > 10
        # A frame more than the bound at most.
        assert sum(len(frame) for _, _, frame in seen[node]) == account[node]["bytes"] < 20_000 + 1600
    assert account["a"]["ended_at_its_bound"]
    assert account["a"]["lost_frames"] == 0, "what comes after the bound is not asked for, and not lost"
    # The overlay's own packets have no Ethernet header: an IP version is their first half byte.
    tunnel = {frame[0] >> 4 for name, _, frame in seen["a"] if name == "rm-a"}
    assert tunnel and tunnel <= {4, 6}
    assert len({name for name, _, _ in seen["rb"]}) >= 2
