"""refmesh speaks WireGuard: proved by a real wireguard-go as the other end, in both roles."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.sandbox.unshare import sandbox_argv

pytestmark = [pytest.mark.lab, pytest.mark.waits]


def run(*arguments: str) -> dict[str, Any]:
    for program in ("wireguard-go", "wg"):
        assert shutil.which(program), f"no {program}; to get it: apt-get install -y wireguard-go wireguard-tools"
    script = str(Path(__file__).with_name("wireguard_lab.py"))
    done = subprocess.run(
        sandbox_argv([sys.executable, script, *arguments]), capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


@pytest.mark.parametrize("initiator", ["refmesh", "wireguard-go"])
def test_wireguard_go_and_refmesh_talk(initiator: str) -> None:
    result = run(initiator)
    assert result["answered"] == 5
    assert result["handshake"]
    assert result["there"]
    assert result["back"]
    assert result["status"]["path"] == "direct"
    assert result["status"]["rx_bytes"] > 8 << 20


def test_with_another_preshared_key_nothing_passes() -> None:
    result = run("refmesh", "psk-differs")
    assert result["answered"] == 0
    assert not result["handshake"]
