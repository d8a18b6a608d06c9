"""The campaign, killed or interrupted, over hosts of a file: nothing stays on them, and --resume ends the run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pool_runs import SCENARIO, lasting, naming

from harness.results.store import RunFolder

# Against what hangs; how long it takes is for the machine to say.
pytestmark = pytest.mark.timeout(300)
HERE = Path(__file__).parent
TRIALS = 36


def until(holds: Callable[[], bool], patience_s: float = 60.0) -> None:
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.05)


def start(folder: Path, *more: str, trial_s: float = 0.2) -> subprocess.Popen[str]:
    """Begin a run over two hosts that pretend."""
    (folder / "mine.yaml").write_text(SCENARIO.replace("repeats: 4", "repeats: 2"))
    wrapper = folder / "station.sh"
    wrapper.write_text(f'#!/bin/sh\nshift 3\nexec {sys.executable} {HERE / "fake_station.py"} "$@"\n')
    wrapper.chmod(0o755)
    hosts = "".join(f"  - {{name: {name}, slots: 2, through: [{wrapper}]}}\n" for name in ("one", "two"))
    (folder / "hosts.yaml").write_text(f"hosts:\n{hosts}")
    argv = [str(Path(sys.executable).with_name("overlaybench")), "run", "mine.yaml", "--hosts", "hosts.yaml"]
    return subprocess.Popen(
        [*argv, "--out", str(folder / "run"), *more],
        cwd=folder,
        env={**os.environ, "FAKE_TRIAL_S": str(trial_s), "OVERLAYBENCH_HOST_SILENCE_S": "30"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(folder: Path) -> int:
    with contextlib.suppress(Exception):
        return len(RunFolder(folder / "run").finished_trials())
    return 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_campaign_that_ends_leaves_its_hosts_and_is_resumed(tmp_path: Path, number: signal.Signals) -> None:
    running = start(tmp_path, trial_s=1.5)  # all would take ten seconds more
    until(lambda: finished(tmp_path) >= 5)
    running.send_signal(number)
    _, said = running.communicate(timeout=60)
    assert running.returncode == (-9 if number == signal.SIGKILL else 130), said
    if number == signal.SIGINT:
        assert "continue with --resume" in said
    until(lambda: not naming(str(tmp_path / "run")))
    before = finished(tmp_path)
    assert 5 <= before < TRIALS
    again = start(tmp_path, "--resume")
    _, said = again.communicate(timeout=250)
    assert again.returncode == 0, said
    assert f"{before} of {TRIALS} trials are done already" in said and "on one" in said and "on two" in said
    assert len(lasting(tmp_path / "run")) == 2 * TRIALS and finished(tmp_path) == TRIALS
    manifest = RunFolder(tmp_path / "run").manifest()
    assert {one["name"] for one in manifest["hosts"].values()} == {"one", "two"}
    assert manifest["processors"] == {"hosts": {"one": {"virtual": False}, "two": {"virtual": False}}}
    until(lambda: not naming(str(tmp_path / "run")))
