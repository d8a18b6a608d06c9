"""refmesh on hosts as they are: interfaces that vanish, paths that carry less, addresses and names that change."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.sandbox.unshare import sandbox_argv

pytestmark = [pytest.mark.lab, pytest.mark.waits]


def run(name: str) -> dict[str, Any]:
    script = str(Path(__file__).with_name("refmesh_hosts_lab.py"))
    done = subprocess.run(
        sandbox_argv([sys.executable, script, name]), capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(("case", "who"), [("link-deleted", "a"), ("hub-link-deleted", "s")])
def test_the_end_of_the_interface_is_the_daemons(case: str, who: str) -> None:
    result = run(case)
    assert result[who]["code"] == 3
    assert result[who]["said"].splitlines()[-1] == "interface rm0 is gone: somebody has deleted it"
    assert "Traceback" not in result[who]["said"]
    assert not result.get("socket_left")


def test_an_interface_that_is_taken_down_and_up_again_works_again() -> None:
    result = run("link-down")
    assert result["a"]["code"] is None
    assert result["answers_s"] is not None


@pytest.mark.parametrize("case", ["hostile-host", "hostile-host-layer-2"])
def test_what_programs_of_its_host_put_into_its_device_harms_no_node(case: str) -> None:
    result = run(case)
    assert result["sent"] > 3000  # the kernel refuses a part
    assert result["answers_s"] is not None
    first, *_, last = result["rss_mib"]
    assert last - first < 8.0
    for name in "ab":
        assert result[name]["code"] == 0
        assert "fault" not in result[name]["said"]
        assert "Traceback" not in result[name]["said"]


NARROW = ("mtu-1460", "mtu-1460-wireguard", "mtu-1460-ipv6", "mtu-1460-layer-2", "mtu-1460-relayed", "black-hole")


@pytest.mark.parametrize("case", NARROW)
def test_tcp_goes_over_an_underlay_of_1460(case: str) -> None:
    result = run(case)
    assert result["there"]
    assert result["back"]
    assert result["large_ping_s"] is not None
    assert all(1200 < limit <= 1392 for limit in result["limits"])
