"""refmesh's static peers in the situations of WireGuard's own selftest (netns.sh), and a server with two addresses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.sandbox.unshare import sandbox_argv
from overlays.refmesh.core import ratelimit

pytestmark = [pytest.mark.lab, pytest.mark.waits]


def run(name: str) -> dict[str, Any]:
    script = str(Path(__file__).with_name("refmesh_static_lab.py"))
    done = subprocess.run(
        sandbox_argv([sys.executable, script, name]), capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_answers_leave_from_the_address_that_was_asked_while_it_is_there() -> None:
    result = run("sticky-source")
    assert result["first_s"] is not None
    assert result["many"] == 10
    assert result["endpoint"] == "45.9.0.22:51820"
    assert result["from_b_s"] is not None
    assert result["endpoint_then"] == "45.9.0.2:51820"


def test_a_server_answers_from_the_address_that_was_asked_on_every_port() -> None:
    result = run("server-addresses")
    assert result["up"]
    assert result["mapped"]  # by STUN
    assert result["answered"] == 5


def test_a_marked_underlay_lets_a_default_route_lead_into_the_tunnel() -> None:
    result = run("fwmark-default-route")
    assert result["first_s"] is not None
    assert result["beyond"] == 3
    assert result["beside_the_tunnel"] == 0


def test_a_route_to_the_peer_through_the_tunnel_is_no_endless_loop() -> None:
    result = run("loop")
    assert result["first_s"] is not None
    # Five pings and a few datagrams of ours, each of which comes once.
    assert 5 <= result["packets"] < 40
    assert result["after_s"] is not None


def test_an_idle_tunnel_is_kept_open_by_keepalives() -> None:
    result = run("idle-keepalive")
    assert result["known"] == "45.9.0.1:51820"
    assert result["keepalives"] >= 3
    assert result["from_b"] == 3


def test_a_key_changes_while_the_tunnel_works() -> None:
    result = run("live-key-change")
    assert result["first_s"] is not None
    assert result["unchanged"] == "nothing has changed"
    assert (result["down"], result["socket_left"], result["interface_left"]) == (0, False, False)
    assert result["old_key_answers"] == 0
    assert result["reload"] == "peers"
    assert result["then_s"] is not None
    assert result["refused"] == [2, "/a.yaml:0: mtu: has changed, which needs a new start"]
    assert result["still_s"] is not None
    assert result["addresses"] == ["10.9.0.2/32", "10.9.8.0/24"]
    assert result["a_lives"]


def test_icmp_errors_pass() -> None:
    result = run("icmp-errors")
    assert result["first_s"] is not None
    assert result["port"].startswith("ConnectionRefusedError")
    assert result["host"].startswith("OSError 113")


def test_a_flood_of_handshakes_keeps_nobody_out() -> None:
    result = run("flood-of-handshakes")
    print(result)
    assert result["flooded_until_then"]
    assert result["cookies"] > 0, "b was asked for too little to become busy"
    # Who proves its address is answered, but only so often.
    assert 0 < result["answered"] <= ratelimit.BURST + ratelimit.PER_S * result["proving_s"]
    assert result["first_s"] is not None
    assert result["b_lives"]
