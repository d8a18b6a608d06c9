"""The connection that should survive, in a lab: open before the timeline's first event, alive at the traffic's end."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.lab.event_runs import Run

pytestmark = [pytest.mark.lab, pytest.mark.waits]


def test_an_event_at_the_very_beginning_meets_a_connection_that_is_open(tmp_path: Path) -> None:
    # 300 ms each way: a connection that is opened along with the timeline is not open when its first event begins.
    params = "{nat_a: full-cone, nat_b: full-cone, link_a: {delay_ms: 150}, link_b: {delay_ms: 150}}"
    run = Run(tmp_path, "underlay: ", "{at_s: 0, do: link_down, to: ra, for_s: 2}", duration_s=12, params=params)
    said = json.loads((next(run.folder.rglob("*continuity-tcp.json"))).read_text().splitlines()[-1])
    assert said["error"] is None and said["answered"][0] < run.happened[0]["began_s"]
    assert run.value("tcp_survives", None) == 1.0
    assert run.value("event_tcp_recovery_s", "after the end of link_down ra") is not None
    with next(run.folder.rglob("*continuity.csv")).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["flow"] == "tcp"]
    assert float(rows[0]["sent_s"]) < 0 and float(rows[-1]["sent_s"]) > 11, "it is asked until the traffic is over"
