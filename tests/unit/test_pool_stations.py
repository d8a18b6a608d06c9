"""Many hosts as one, with real stations: killed and stopped at random, they lose nothing and leave nothing."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_host import Heard
from pool_runs import campaign, lasting, naming, plan

from harness.hosts.pool import Pool
from harness.hosts.station_member import StationMember

NIGHT = os.environ.get("OVERLAYBENCH_NIGHTLY") == "1"
# A station that is stopped before its first word is missed after a minute, and each that was killed starts anew.
pytestmark = pytest.mark.timeout(1800 if NIGHT else 300)
FAKE = (sys.executable, str(Path(__file__).with_name("fake_station.py")))


def pids(members: Sequence[StationMember]) -> list[int]:
    return [one._client._process.pid for one in members if one._client is not None and not one._client.lost]


def test_stations_that_are_killed_and_stopped_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real processes, killed at random: by night 200 times over 396 trials."""
    kills = 200 if NIGHT else 3
    planned = plan(tmp_path, repeats=22 if NIGHT else 3)
    monkeypatch.setenv("FAKE_TRIAL_S", "0.05")
    monkeypatch.setenv("OVERLAYBENCH_HOST_SILENCE_S", "5")
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    campaign(quiet, planned, Pool([StationMember("one", 16, FAKE, str(tmp_path))])).run(planned.trials)
    members = [StationMember(name, 4, FAKE, str(tmp_path)) for name in ("one", "two")]
    rng, left = random.Random(7), kills

    class Killing(Heard):
        def ended(self, *args: Any) -> None:
            nonlocal left
            super().ended(*args)
            there = pids(members)
            if left and there and rng.random() < (1.0 if NIGHT else 0.2):
                with contextlib.suppress(ProcessLookupError):  # it was killed just now
                    os.kill(rng.choice(there), signal.SIGSTOP if left == 1 else signal.SIGKILL)
                    left -= 1

    tally = campaign(tmp_path, planned, Pool(members), Killing()).run(planned.trials)
    assert left == 0 and tally.outcomes == {"ok": len(planned.trials)}
    assert lasting(tmp_path / "run") == lasting(quiet / "run")
    assert not pids(members)
    deadline = time.monotonic() + 20
    while naming(str(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)  # what removes a station's folder ends after it
    assert naming(str(tmp_path)) == []
