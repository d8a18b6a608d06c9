"""Two homes with one private subnet: overlays meet outside, and the baseline finds both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.late_trials import require_no_worse_than_late
from tests.lab.running import overlaybench

pytestmark = [pytest.mark.lab, pytest.mark.waits]

SCENARIO = """\
description: one subnet, two homes
topology: same-subnet
params: {link_a: {delay_ms: 3}}
overlays: {underlay: , refmesh: mesh}
probes:
  path: {deadline_s: 10}
  latency: {duration_s: 0.3}
"""


def test_the_baseline_reaches_from_home_to_home_and_is_gone_when_an_overlay_runs(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SCENARIO)
    done = overlaybench("run", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "run"), "--no-report")
    require_no_worse_than_late(done, tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines()]
    paths = {row["overlay"]: row["path"] for row in rows if row["probe"] == "path" and row["path"] is not None}
    assert paths == {"underlay": "direct", "refmesh": "direct"}
    underlay = [row["value"] for row in rows if row["metric"] == "underlay_rtt_p50_ms"]
    assert underlay and min(underlay) >= 6.0  # the whole path, the access link included
