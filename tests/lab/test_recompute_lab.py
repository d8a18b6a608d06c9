"""What a run records is what its evidence says, by a program that shares nothing with the one that recorded it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.running import records
from tests.recompute.check import check

pytestmark = pytest.mark.lab


def test_a_smoke_run_is_what_its_evidence_says(smoke: Path) -> None:
    ends = [line["outcome"] for line in records(smoke) if line["probe"] == "trial"]
    found = check(smoke)
    assert found.differences == []
    for metric in ("path", "connect_success", "rtt_p50_ms", "loss_ratio", "tcp_throughput_mbit"):
        # A busy machine makes a trial invalid; its records are those of its evidence all the same.
        assert found.compared[metric] >= 2 or "invalid" in ends, metric
