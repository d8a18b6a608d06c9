"""When an event took effect, and how far apart regions are: measured, so with the machine for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.event_runs import moments
from tests.lab.running import overlaybench, records

pytestmark = pytest.mark.lab


def test_nothing_passes_between_the_moments_that_are_recorded(tmp_path: Path) -> None:
    """How exact the moments are, `python -m bench.event_moments` tells: that needs the machine for itself."""
    found = moments(tmp_path, margin_s=0.1)
    assert [one.event for one in found] == ["link_down", "partition", "link_change"]
    for one in found:
        assert one.passed_meanwhile == 0, one
        assert max(one.wrong_s.values()) < 0.1, one


def test_three_continents_are_as_far_apart_as_they_say(tmp_path: Path) -> None:
    file, out = tmp_path / "mine.yaml", tmp_path / "run"
    file.write_text(
        "description: x\ntopology: regions\noverlays: {underlay: }\nprobes: {path: {}, latency: {duration_s: 1}}\n"
    )
    done = overlaybench("run", str(file), "--out", str(out), "--no-report")
    trips = {(line["src"], line["dst"]): line["value"] for line in records(out) if line["metric"] == "rtt_p50_ms"}
    expected = {("p1", "p2"): 90, ("p1", "p3"): 230, ("p2", "p3"): 150}
    assert trips == {pair: pytest.approx(rtt_ms, rel=0.03) for pair, rtt_ms in expected.items()}, done.stdout
