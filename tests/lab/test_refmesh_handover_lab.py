"""Birthday probing and its end on a real kernel: 256 sockets are opened and closed, and nothing is lost by that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.sandbox.unshare import sandbox_argv

pytestmark = [pytest.mark.lab, pytest.mark.waits]

DELAY_MS = 150


def test_sockets_are_closed_without_the_loss_of_a_packet(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tests.lab.refmesh_handover_lab", "1", str(DELAY_MS), str(tmp_path)]
    done = subprocess.run(sandbox_argv(argv), capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    print(result)
    assert result["most_sockets"] > 256, result["log"]
    assert result["paths"] == ["direct"]
    assert result["lost"] == [0, 0]
    assert result["sockets_left"] == [0, 1]
