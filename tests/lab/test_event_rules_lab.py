"""The rules of events are what nft takes."""

from __future__ import annotations

import subprocess

import pytest

from harness.nat.policies import allow_only, captive_portal, parse_traffic
from harness.nat.ports import RouterPorts

pytestmark = [pytest.mark.lab, pytest.mark.waits]

PORTS = RouterPorts("r-eth0", ("45.45.1.1",), ("r-eth1",), ("192.168.1.0/24",))


@pytest.mark.parametrize("text", [allow_only(PORTS, [parse_traffic("tcp/443")]), captive_portal(PORTS)])
def test_nft_takes_what_is_rendered(text: str) -> None:
    done = subprocess.run(
        ["unshare", "-rn", "nft", "-c", "-f", "-"], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
