"""No packet of a lab waits for address resolution."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.sandbox.unshare import sandbox_argv

pytestmark = [pytest.mark.lab, pytest.mark.waits]


@pytest.mark.parametrize("named", [(), ("mininet_zoo:Far",)], ids=["two-sites", "a Mininet class"])
def test_pings_cross_without_address_resolution(named: tuple[str, ...], tmp_path: Path) -> None:
    worker = Path(__file__).with_name("neighbours_worker.py")
    argv = sandbox_argv([sys.executable, str(worker), str(tmp_path), *named])
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(seen) >= (2 if named else 5)
    for one in seen:
        assert one["arp"] == one["solicitations"] == 0 and one["frames"] >= 8, one
