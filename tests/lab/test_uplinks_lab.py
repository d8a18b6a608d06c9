"""IPv6 follows a host to its next router."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.sandbox.unshare import sandbox_argv

pytestmark = [pytest.mark.lab, pytest.mark.waits]


def test_ipv6_follows_the_router_that_a_host_uses(tmp_path: Path) -> None:
    worker = Path(__file__).with_name("uplinks_worker.py")
    argv = sandbox_argv([sys.executable, str(worker), str(tmp_path)])
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    first, second = "2a0e:45:1::1", "2a0e:45:1::254"
    assert seen["moved"] == {
        "home": [first],
        "away": [],
        "home again": [[first], True],
    }
    assert seen["switched"] == {
        "first": [[first], True],
        "second": [[second], True],
        "first again": [[first], True],
    }
    assert seen["while down"] == [], "it was waiting to be set again"
