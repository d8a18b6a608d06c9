"""Events in a real lab: each does what it says when it says, is undone, and leaves the lab as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.running import overlaybench, processes_naming, records

pytestmark = [pytest.mark.lab, pytest.mark.waits]

SCENARIO = """\
description: one event of each kind
topology: two-sites
params: {nat_a: full-cone, nat_b: full-cone, link_a: fibre, link_b: fibre}
overlays: {%s}
probes: {path: {deadline_s: 10}, continuity: {duration_s: %d, interval_ms: 50}}
timeline:
"""


def run(
    tmp_path: Path, overlays: str, duration_s: int, *items: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Run a timeline; gives what happened and the continuity probe's records."""
    file = tmp_path / "mine.yaml"
    file.write_text(SCENARIO % (overlays, duration_s) + "".join(f"  - {item}\n" for item in items))
    out = tmp_path / "run"
    done = overlaybench("run", str(file), "--out", str(out), "--no-report")
    lines = records(out)
    (end,) = (line for line in lines if line["probe"] == "trial")
    assert end["outcome"] in ("ok", "invalid"), done.stderr
    assert processes_naming(str(out)) == []
    happened = json.loads((out / "trials" / end["trial"] / "timeline.json").read_text())
    return happened, [line for line in lines if line["probe"] == "continuity"]


def value(lines: list[dict[str, Any]], metric: str, phase: str | None = None) -> float | None:
    (found,) = (line["value"] for line in lines if line["metric"] == metric and line["phase"] == phase)
    return None if found is None else float(found)


def test_a_cable_that_is_pulled_stops_the_traffic_as_long_as_it_is_out(tmp_path: Path) -> None:
    happened, lines = run(tmp_path, "underlay: ", 8, "{at_s: 1, do: link_down, to: ra, for_s: 3}")
    assert [(one["do"], one["undone"]) for one in happened] == [("link_down", False), ("link_down", True)]
    lasted_s = happened[1]["effective_s"] - happened[0]["effective_s"]
    assert lasted_s >= 3
    gap_s = value(lines, "continuity_longest_gap_s")
    assert gap_s is not None and gap_s >= lasted_s - 0.5, "nothing passes while it is out"
    assert value(lines, "event_recovery_s", "after the end of link_down ra") is not None, "and all comes back"
    assert value(lines, "tcp_survives") == 1.0


def test_a_host_that_sleeps_is_not_there_whichever_of_the_two_it_is(tmp_path: Path) -> None:
    """What is sent to daemons that stand still would be answered when they go on."""
    sleeps = [f"{{at_s: {at_s}, do: sleep, to: {who}, for_s: 2}}" for at_s, who in ((1, "b"), (5, "a"))]
    happened, lines = run(tmp_path, "refmesh: mesh", 9, *sleeps)
    gap_s = value(lines, "continuity_longest_gap_s")
    assert gap_s is not None and gap_s > 1.5
    for who in "ab":
        assert value(lines, "phase_answered_ratio", f"after sleep {who}") == 0
        assert value(lines, "event_recovery_s", f"after the end of sleep {who}") is not None
    lost = [value(lines, "phase_lost", f"after sleep {who}") or 0 for who in "ab"]
    assert len(happened) == 4 and min(lost) > 30 and abs(lost[0] - lost[1]) <= 4, "every 50 ms one is due"


@pytest.mark.nightly  # test_event_moments_lab.py has the same event, to the packet
def test_a_link_that_changes_is_another_and_then_the_old_one(tmp_path: Path) -> None:
    happened, lines = run(
        tmp_path, "underlay: ", 6, "{at_s: 1, do: link_change, to: ra, for_s: 2, link: {loss_percent: 100}}"
    )
    assert len(happened) == 2
    gap_s = value(lines, "continuity_longest_gap_s")
    assert gap_s is not None and gap_s > 1.5
    assert value(lines, "event_recovery_s", "after the end of link_change ra") is not None


@pytest.mark.nightly  # server-dies-quick expects that a hub's traffic stops and comes back
def test_a_hub_that_dies_takes_its_traffic_along_until_it_is_back(tmp_path: Path) -> None:
    happened, lines = run(tmp_path, "openvpn: hub", 30, "{at_s: 1, do: kill, to: s, for_s: 4}")
    assert [one["undone"] for one in happened] == [False, True]
    gap_s = value(lines, "continuity_longest_gap_s")
    assert gap_s is not None and gap_s > 3.5
    assert value(lines, "event_recovery_s", "after the end of kill s") is not None, "clients find the server again"


def test_what_follows_a_moment_happens_before_the_traffic(tmp_path: Path) -> None:
    happened, lines = run(
        tmp_path, "underlay: ", 2, "{after: ready, do: reboot, to: ra}", "{at_s: 1, do: reboot, to: rb}"
    )
    assert [one["to"] for one in happened] == ["ra", "rb"]
    assert value(lines, "event_late_ms", "after reboot rb") is not None
    assert value(lines, "continuity_answered_ratio") is not None
