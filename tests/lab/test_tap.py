"""The lab's eyes see what scapy sent: tap, pcap file and counters agree with it and with each other."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.sandbox.unshare import sandbox_argv

pytestmark = [pytest.mark.lab, pytest.mark.waits]


def test_tap_pcap_and_counters_agree(tmp_path: Path) -> None:
    worker = Path(__file__).with_name("tap_worker.py")
    argv = sandbox_argv([sys.executable, str(worker), str(tmp_path)])
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    # Without the ARP packet; IP total lengths: header 20, UDP 8, TCP 20, ICMP 8.
    expected = [["45.45.1.1", "45.45.2.1", 928], ["45.45.2.1", "45.45.1.1", 40], ["45.45.1.1", "45.45.2.1", 92]]
    assert [one[:3] for one in result["seen"]] == expected
    assert [one[:3] for one in result["stored"]] == expected
    for seen, stored in zip(result["seen"], result["stored"], strict=True):
        assert seen[3] == pytest.approx(stored[3], abs=1e-6)
        assert abs(seen[3] - time.time()) < 60
    assert result["counted"] == {"45.45.1.1>45.45.2.1": 928 + 92, "45.45.2.1>45.45.1.1": 40}
