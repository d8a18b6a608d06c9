"""refmesh as a user runs it, in real namespaces: IPv4, IPv6, TLS without UDP, layer 2, joining, server death."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.sandbox.unshare import sandbox_argv

pytestmark = [pytest.mark.lab, pytest.mark.waits]


def run(kind: str) -> dict[str, Any]:
    script = str(Path(__file__).with_name("refmesh_lab.py"))
    done = subprocess.run(
        sandbox_argv([sys.executable, script, kind]), capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_two_nodes_and_a_server() -> None:
    result = run("ipv4")
    assert result["answered"] == 5
    assert result["peer"]["path"] == "direct"
    assert result["peer"]["endpoint"].startswith("45.9.0.2:")
    assert {member["name"] for member in result["members"] if member["online"]} == {"a", "b"}
    # Each has a second, which a busy machine may take for itself.
    assert sum("direct" in line and "rtt" in line for line in result["ping"]) >= 2, result["ping"]
    assert "rm0" not in " ".join(result["interfaces_left"])


def test_an_underlay_of_ipv6_alone() -> None:
    result = run("ipv6")
    assert result["answered"] == 5
    assert result["peer"]["path"] == "direct"
    assert result["peer"]["endpoint"].startswith("2a0e:1::2:")


def test_udp_is_blocked_and_tls_carries_all() -> None:
    result = run("tls")
    assert result["answered"] == 5
    assert result["peer"]["path"] == "relayed"
    assert result["servers"][0]["transport"] == "tls"


def test_layer_2_carries_arp_and_ping() -> None:
    result = run("layer2")
    assert result["answered"] == 5
    assert result["peer"]["path"] == "direct"


def test_a_node_joins_with_a_one_time_key() -> None:
    result = run("joined")
    assert result["answered"] == 5
    assert result["peer"]["name"] == "b"


def test_nodes_outlive_the_server_and_find_each_other_without_it() -> None:
    result = run("servers-die")
    assert result["answered"] == 5
    assert result["answered_anew"] == 5
