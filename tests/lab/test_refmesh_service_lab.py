"""The README's systemd units as printed: under their restrictions all works, and nothing else can be written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.sandbox.unshare import sandbox_argv

pytestmark = [pytest.mark.lab, pytest.mark.waits]


def test_the_units_as_printed() -> None:
    script = str(Path(__file__).with_name("refmesh_service_lab.py"))
    done = subprocess.run(
        sandbox_argv([sys.executable, script]), capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["read_only"]
    assert result["path"] == "direct"
    assert result["answered"] == 3
    assert result["reload"] == [0, "nothing has changed"]
    assert result["ends"] == {"a": 0, "b": 0, "s": 0}
    assert result["state"] == ["known.json"]
    assert result["sockets"] == []
    assert result["wrong"] == 2  # RestartPreventExitStatus
