"""What `bench/refmesh_mesh.py` reads from the daemons' logs, and how it judges."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bench.refmesh_mesh import GOALS, judged
from bench.refmesh_mesh_logs import Logs

BEGUN = datetime(2026, 11, 29, 12, 0, 0)
LINES = {
    "a": [
        "2026-11-29 12:00:01,500 INFO server s answers; we are ('45.9.1.2', 40000) to it",
        "2026-11-29 12:00:02,000 INFO knows b (abcd) at 10.77.0.2/16",
        "2026-11-29 12:00:02,100 INFO b is reached by relay 45.9.0.2:7447",
        "2026-11-29 12:00:03,250 INFO b is reached directly at 45.9.2.2:40000",
        "2026-11-29 12:00:09,000 INFO b is reached directly at 45.9.2.2:40001",
    ],
    "b": [
        "2026-11-29 12:00:04,000 INFO server s answers; we are ('45.9.2.2', 40000) to it",
        "2026-11-29 12:00:05,000 INFO knows a (abcd) at 10.77.0.1/16",
        "2026-11-29 12:00:06,000 INFO a is reached directly at 45.9.1.2:40000",
    ],
}


def test_lines_are_taken_as_they_come_and_the_first_time_counts(tmp_path: Path) -> None:
    logs = Logs(tmp_path, ["a", "b"])
    logs.read()
    assert logs.progress() == "up 0/2, known 0/2, direct 0/2"
    text = "\n".join(LINES["a"]) + "\n"
    for cut in (0, 200, 260, len(text)):
        (tmp_path / "a.log").write_text(text[:cut])
        logs.read()
    assert logs.progress() == "up 1/2, known 1/2, direct 1/2"
    assert not logs.complete
    assert logs.took_s(BEGUN.timestamp()) == {"up": None, "known": None, "direct": None}
    (tmp_path / "b.log").write_text("\n".join(LINES["b"]) + "\n")
    logs.read()
    assert logs.complete
    assert logs.took_s(BEGUN.timestamp()) == {"up": 4.0, "known": 5.0, "direct": 6.0}
    assert logs.tail("b").endswith("45.9.1.2:40000\n")


def result(**changes: Any) -> dict[str, Any]:
    return {
        "pairs": 3,
        "paths": {"direct": 6},
        "all_known_s": 9.0,
        "all_direct_s": 59.0,
        "rss_mib_max": 33.0,
    } | changes


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, set()),
        ({"all_known_s": 10.5}, {"all_known_s"}),
        ({"all_known_s": None, "all_direct_s": None}, {"all_known_s", "all_direct_s"}),
        ({"paths": {"direct": 5, "relayed": 1}}, {"all_direct_s"}),
        ({"rss_mib_max": 61.0}, {"rss_mib_max"}),
    ],
)
def test_what_never_came_or_did_not_stay_is_missed(changes: dict[str, Any], missed: set[str]) -> None:
    verdicts = judged(result(**changes))
    assert verdicts.keys() == GOALS.keys()
    assert {name for name, verdict in verdicts.items() if verdict == "missed"} == missed
