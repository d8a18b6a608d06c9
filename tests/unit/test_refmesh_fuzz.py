"""Short runs of the fuzz targets in tests/fuzz; the millions are for `make fuzz`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Against what hangs; how long it takes is for the machine to say.
pytestmark = pytest.mark.timeout(300)
FUZZ = Path(__file__).parents[1] / "fuzz"


def run(target: str, count: int, seed: int) -> None:
    done = subprocess.run(
        [sys.executable, str(FUZZ / target), "--count", str(count), "--seed", str(seed)],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("seed", [1, 2])
def test_strangers_datagrams_change_nothing(seed: int) -> None:
    run("refmesh_datagrams.py", 10_000, seed)


@pytest.mark.parametrize("seed", [1, 2])
def test_hostile_members_relays_and_servers_keep_within_their_rights(seed: int) -> None:
    run("refmesh_members.py", 1_200, seed)


@pytest.mark.parametrize("seed", [1, 2])
def test_hostile_members_of_a_hub_and_a_hostile_hub_keep_within_their_rights(seed: int) -> None:
    run("refmesh_hub.py", 2_000, seed)


@pytest.mark.parametrize("seed", [1, 4])
def test_any_packet_of_a_host_and_any_sealed_one_of_a_peer_pass_a_driver_or_are_dropped(seed: int) -> None:
    run("refmesh_devices.py", 5_000, seed)


@pytest.mark.parametrize("seed", [1, 2])
def test_strangers_and_members_at_real_sockets_leave_a_server_as_it_was(seed: int) -> None:
    run("refmesh_sockets.py", 4_000, seed)
