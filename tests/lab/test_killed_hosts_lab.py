"""SIGKILL of a station in the middle of a real trial, and of a campaign through Dask: nothing stays on the machine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.hosts.station_member import MODULE
from tests.lab.hosts_runs import ends
from tests.lab.running import machine_state, processes_naming

# By day the stations of tests/unit/test_station.py, which pretend, are killed.
pytestmark = [pytest.mark.lab, pytest.mark.waits, pytest.mark.nightly, pytest.mark.timeout(280)]
BIN = Path(sys.executable).parent
SCENARIO = """\
description: some that last
topology: two-sites
params: {nat_a: full-cone, nat_b: full-cone}
overlays: {underlay: , refmesh: mesh}
probes: {path: {deadline_s: 6}, continuity: {duration_s: 5}}
"""


def until(holds: Callable[[], bool], patience_s: float = 120.0) -> None:
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.05)


@contextlib.contextmanager
def started(folder: Path, log: str, *argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program of this installation in a session of its own, which is killed at the end."""
    environment = {**os.environ, "OVERLAYBENCH_TLS": str(folder / "tls"), "DASK_TEMPORARY_DIRECTORY": str(folder)}
    with (folder / log).open("wb") as file:
        process = subprocess.Popen(
            [str(BIN / argv[0]), *argv[1:]],
            cwd=folder,
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def stations(label: str) -> list[int]:
    """Return a station, and what it forked, the oldest first: their words name its module."""
    # Not by reading their words here: one may have ended since it was found.
    return sorted(set(processes_naming(label)) & set(processes_naming(MODULE)))


def in_trial(folder: Path, log: str) -> bool:
    """Tell whether a trial's lab stands, by the steps of which the run tells."""
    return " on one, " in (folder / log).read_text(errors="replace")


def test_a_station_that_is_killed_in_the_middle_of_a_trial_leaves_nothing(tmp_path: Path) -> None:
    before, out = machine_state(), tmp_path / "run"
    (tmp_path / "mine.yaml").write_text(SCENARIO)
    (tmp_path / "hosts.yaml").write_text("hosts:\n  - {name: one, slots: 2}\n")
    argv = ("overlaybench", "run", "mine.yaml", "--hosts", "hosts.yaml", "--out", str(out), "--no-report")
    with started(tmp_path, "run.log", *argv) as campaign:
        until(lambda: in_trial(tmp_path, "run.log") or campaign.poll() is not None)
        station = stations(str(out))[0]
        os.kill(station, signal.SIGKILL)
        assert campaign.wait(200) == 0, (tmp_path / "run.log").read_text()
    manifest = json.loads((out / "manifest.json").read_text())
    ended = ends(out)
    assert sorted(ended) == ["refmesh_mesh_r1", "underlay_r1"]
    assert {line["outcome"] for line in ended.values()} == {"ok"} and 1 <= len(manifest["hosts_lost"]) <= 2
    until(lambda: not processes_naming(str(out)))
    assert machine_state() == before


def test_a_campaign_through_dask_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    """Its station waits for a minute for a campaign that may be there still."""
    pytest.importorskip("distributed", reason="pip install -e '.[dask]'")
    before, out = machine_state(), tmp_path / "run"
    label = re.sub(r"[^A-Za-z0-9._-]", "-", str(out))
    (tmp_path / "mine.yaml").write_text(SCENARIO)
    init = [str(BIN / "overlaybench"), "hosts", "init", "--dir", str(tmp_path / "tls")]
    subprocess.run(init, check=True, capture_output=True)
    files = {"ca-file": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
    tls = [word for kind, name in files.items() for word in (f"--tls-{kind}", str(tmp_path / "tls" / name))]
    quiet = ("--dashboard-address", "127.0.0.1:0", *tls)
    words = ("dask", "scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port", "0", *quiet)
    with started(tmp_path, "scheduler.log", *words):
        said = re.compile(r"Scheduler at:\s+(tls://\S+)")
        until(lambda: said.search((tmp_path / "scheduler.log").read_text()) is not None)
        found = said.search((tmp_path / "scheduler.log").read_text())
        assert found is not None
        with started(tmp_path, "worker.log", "dask", "worker", found[1], "--name", "one", "--nthreads", "2", *quiet):
            argv = ("overlaybench", "run", "mine.yaml", "--hosts", found[1], "--out", str(out), "--no-report")
            with started(tmp_path, "run.log", *argv) as campaign:
                until(lambda: in_trial(tmp_path, "run.log") or campaign.poll() is not None)
                assert stations(label), (tmp_path / "run.log").read_text()
                campaign.kill()
                campaign.wait()
            until(lambda: not processes_naming(label))
            assert machine_state() == before
    until(lambda: not processes_naming(str(tmp_path)))
