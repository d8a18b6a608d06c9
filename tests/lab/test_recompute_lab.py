"""What a run records is what its evidence says, by a program that shares nothing with the one that recorded it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.running import overlaybench, records
from tests.recompute.check import check

pytestmark = pytest.mark.lab


def test_a_smoke_run_is_what_its_evidence_says(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = overlaybench("run", "smoke", "--out", str(out))
    ends = [line["outcome"] for line in records(out) if line["probe"] == "trial"]
    # A busy machine makes a trial invalid; its records are those of its evidence all the same.
    assert len(ends) == 2 and set(ends) <= {"ok", "invalid"}, done.stderr
    found = check(out)
    assert found.differences == []
    for metric in ("path", "connect_success", "rtt_p50_ms", "loss_ratio", "tcp_throughput_mbit"):
        assert found.compared[metric] >= 2 or "invalid" in ends, metric
