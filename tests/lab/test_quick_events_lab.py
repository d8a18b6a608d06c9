"""The quick scenarios of events, as bundled: what they expect comes, in the time that a quick one has."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.overlay.install import missing
from harness.scenario.planned import plan_trials
from harness.timeline.registry import events
from tests.lab.running import overlaybench, processes_naming, records

pytestmark = [pytest.mark.lab, pytest.mark.waits]

QUICK = (
    "members-quick",
    "policies-quick",
    "regions-quick",
    "roaming-quick",
    "router-reboots-quick",
    "server-dies-quick",
)
# Their events, and what comes back after them, are in `make test` as well: test_event_moments_lab.py has links that
# change and lines that go, test_events_lab.py the second line and stricter networks. A ramp of a link, and OpenVPN by
# TCP alone, are for the night.
AT_NIGHT = ("flaky-links-quick", "spare-line-quick", "strict-networks-quick")
LIMIT_S = 300


def test_every_event_that_a_lab_can_make_stands_in_a_quick_scenario() -> None:
    stated = {item.do for name in (*QUICK, *AT_NIGHT) for trial in plan_trials(name).trials for item in trial.timeline}
    assert stated == events().keys() - {"clock_jump"}


@pytest.mark.timeout(LIMIT_S + 60)
@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.nightly) for name in AT_NIGHT)])
def test_what_a_quick_scenario_expects_comes(name: str, tmp_path: Path) -> None:
    for overlay in plan_trials(name).overlays.values():
        if lacking := missing(overlay.requirements()):
            pytest.skip(f"{overlay.name} needs {lacking[0].program}: {lacking[0].install}")
    out = tmp_path / "run"
    done = overlaybench("run", name, "--out", str(out), "--no-report", timeout_s=LIMIT_S)
    assert processes_naming(str(out)) == []
    trials = [line for line in records(out) if line["probe"] == "trial"]
    late = [line for line in trials if line["outcome"] == "invalid"]
    assert all("late" in str(line["error"]) for line in late), "a machine that was too busy, and nothing else"
    if not late:
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "numbers: " in done.stdout + done.stderr, "recovery is judged"
