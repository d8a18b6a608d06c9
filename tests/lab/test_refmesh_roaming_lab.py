"""Roaming and restarts with real daemons: an answer comes again, on the path that was there before, and stays.

How long it took is printed (`-s`) and no claim: bounds are asserted where the clock is ours, in the simulated world.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.sandbox.unshare import sandbox_argv

pytestmark = [pytest.mark.lab, pytest.mark.waits]

CASES = {
    "router": "direct",
    "interface": "direct",
    "both": "direct",
    "router-relayed": "relayed",
    "router-tls": "relayed",
    "server-restart": "direct",
    "server-restart-relayed": "relayed",
    "sleep": "direct",
}
TEN_MINUTES = {
    "sleep-600": "direct",
    "sleep-600-relayed": "relayed",
    "servers-dead-600": "direct",
    "servers-dead-600-relayed": "relayed",
}


def ran(case: str, timeout_s: float) -> dict[str, Any]:
    script = str(Path(__file__).with_name("refmesh_roaming_lab.py"))
    done = subprocess.run(
        sandbox_argv([sys.executable, script, case]), capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(case, result)
    assert result["gap_s"] is not None
    assert result["lost_later"] == 0
    return result


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_lost_for_good(case: str) -> None:
    result = ran(case, 170)
    assert result["path"] == CASES[case]
    if case == "router":
        assert result["endpoint"].startswith("45.9.0.77:")
    if case == "router-tls":
        assert result["transport"] == "tls"


@pytest.mark.timeout(1000)
@pytest.mark.nightly
@pytest.mark.parametrize("case", TEN_MINUTES)
def test_nor_after_ten_minutes_when_all_keys_are_too_old(case: str) -> None:
    result = ran(case, 960)
    assert result["path"] == TEN_MINUTES[case]
    if case == "servers-dead-600":
        assert result["silent_s"] < 30, "who has a direct path renews its keys without any server"
