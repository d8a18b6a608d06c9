"""Roaming and restarts with real daemons: an answer comes again, on the path that was there before, and stays.

How long it took is printed (`-s`) and no claim: bounds are asserted where the clock is ours, in the simulated world.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.sandbox.unshare import sandbox_argv

pytestmark = [pytest.mark.lab, pytest.mark.waits]

CASES = {
    "router": "direct",
    "interface": "direct",
    "both": "direct",
    "router-relayed": "relayed",
    "server-restart": "direct",
    "server-restart-relayed": "relayed",
    "sleep": "direct",
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_lost_for_good(case: str) -> None:
    script = str(Path(__file__).with_name("refmesh_roaming_lab.py"))
    done = subprocess.run(
        sandbox_argv([sys.executable, script, case]), capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    print(case, result)
    assert result["gap_s"] is not None
    assert result["lost_later"] == 0
    assert result["path"] == CASES[case]
    if case == "router":
        assert result["endpoint"].startswith("45.9.0.77:")
