"""What comes of a trial does not depend on how many others run at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

# wg keeps its path alive every 15 s; mappings that last 4 s end in between, unless somebody uses the path: a waiting
# trial does so every second, and a busy machine may let it come seconds late.
SCENARIO = """\
description: mappings that end while a trial waits for its turn
topology: two-sites
params:
  nat_a: {mapping: APDM, filtering: APDF, udp_lifetime_s: 4}
  nat_b: {mapping: APDM, filtering: APDF, udp_lifetime_s: 4}
overlays: {wireguard: hub}
probes:
  path:
  latency: {duration_s: 1}
  throughput: {duration_s: 1, omit_s: 0}
repeats: 3
"""


def test_mappings_outlast_the_wait_for_a_turn(tmp_path: Path) -> None:
    file = tmp_path / "waiting.yaml"
    file.write_text(SCENARIO)
    out = tmp_path / "run"
    program = Path(sys.executable).with_name("overlaybench")
    argv = [str(program), "run", str(file), "--out", str(out), "--no-report", "--jobs", "3"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=280)
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    ends = {record["trial"]: record for record in records if record["metric"] == "duration_s"}
    assert {record["outcome"] for record in ends.values()} == {"ok"}, [record["error"] for record in ends.values()]
    assert done.returncode == 0 and len(ends) == 3
