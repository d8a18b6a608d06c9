"""A port block follows each host to where it is (RFC 7422): without one it has no network at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.sandbox.unshare import sandbox_argv

pytestmark = [pytest.mark.lab, pytest.mark.waits]


def _seen(folder: Path, topology: str, params: dict[str, Any], *happening: list[Any]) -> list[dict[str, Any]]:
    """Return as whom the sockets of the members are seen after each event: who never is meets no silence."""
    worker = Path(__file__).with_name("port_blocks_worker.py")
    argv = [sys.executable, str(worker), str(folder), topology, json.dumps(params), json.dumps(happening)]
    done = subprocess.run(sandbox_argv(argv), capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["no block"] == [0, 0], said
    return list(said["seen"])


def _block(endpoint: list[Any]) -> int:
    return (int(endpoint[1]) - 1024) // 512


def test_hosts_that_move_behind_a_carrier_have_blocks_there_and_leave_the_others_theirs(tmp_path: Path) -> None:
    into_mobile = {"into": "rm"}
    one, two, three, four = _seen(
        tmp_path,
        "roaming",
        {},
        ["move", "a", into_mobile],
        ["move", "b", into_mobile],
        ["renew_ip", "b", {}],
        ["undo", "move", "a", into_mobile],
    )
    assert one["a 0"][0] == "45.45.3.1" and one["b 0"][0] == "45.45.2.1"
    assert two["a 0"] == one["a 0"], "the mapping of one who was there is another"
    assert _block(two["b 1"]) != _block(two["a 1"]) == _block(one["a 0"])
    assert _block(three["b 2"]) not in {_block(three["a 2"]), _block(two["b 1"])}
    assert three["a 0"] == one["a 0"]
    assert four["a 3"][0] == "45.45.1.1" and four["b 3"][0] == "45.45.3.1"


def test_a_home_with_another_address_of_its_carrier_has_a_block_and_so_it_has_after_a_change_of_nat(
    tmp_path: Path,
) -> None:
    one, two = _seen(
        tmp_path,
        "cgnat",
        {"nat_carrier": "cgn"},
        ["change_address", "ra", {"addresses": ["10.128.7.77"]}],
        ["change_nat", "rc", {"nat": {"alias": "cgn", "port_block_size": 1024}}],
    )
    assert one["a 0"][0] == one["b 0"][0] == "45.45.3.1" and _block(one["a 0"]) != _block(one["b 0"])
    assert two["a 1"] and two["b 1"]
