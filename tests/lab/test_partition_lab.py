"""A partition lasts whatever addresses its hosts get."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.sandbox.unshare import sandbox_argv

pytestmark = [pytest.mark.lab, pytest.mark.waits]


def test_who_is_parted_gets_through_at_no_address(tmp_path: Path) -> None:
    worker = Path(__file__).with_name("partition_worker.py")
    argv = sandbox_argv([sys.executable, str(worker), str(tmp_path)])
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen.pop("rules know the new address")
    assert seen == {"parted": False, "moved": False, "readdressed": False, "joined": True, "as before": True}
