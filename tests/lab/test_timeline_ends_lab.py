"""Ends of events in a real lab: those that never come, those that cross, and whom an event must leave alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.event_runs import Run
from tests.lab.running import overlaybench, processes_naming, records

pytestmark = [pytest.mark.lab, pytest.mark.waits]

COMPARED = """\
description: what is never undone
topology: two-sites
params: {nat_a: port-restricted, nat_b: port-restricted, link_a: fibre, link_b: fibre}
overlays: {refmesh: mesh}
probes: {path: {deadline_s: 10}, latency: {duration_s: 0.5}, continuity: {duration_s: 7}}
timeline:
  - {at_s: 1, do: link_down, to: ra}
  - {at_s: 2, do: partition, to: a, away_from: b}
  - {at_s: 3, do: sleep, to: b}
  - {at_s: 4, do: change_address, to: rb, addresses: [45.45.2.9]}
"""


@pytest.mark.parametrize("compared", [True, False], ids=["compared", "alone"])
def test_what_is_never_undone_ends_with_the_overlay(tmp_path: Path, compared: bool) -> None:
    file, out = tmp_path / "mine.yaml", tmp_path / "run"
    file.write_text(COMPARED if compared else COMPARED.replace("latency: {duration_s: 0.5}, ", ""))
    done = overlaybench("run", str(file), "--out", str(out), "--no-report")
    lines = records(out)
    (end,) = (line for line in lines if line["probe"] == "trial")
    assert end["outcome"] == "ok" or "late" in str(end["error"]), done.stdout + done.stderr
    assert processes_naming(str(out)) == []
    if compared and end["outcome"] == "ok":
        assert any(line["metric"].startswith("underlay_") and line["value"] for line in lines)
    assert not any(line["metric"] == "event_at_s" and "the end of" in str(line["phase"]) for line in lines)


def test_two_blockades_that_cross_end_with_the_second(tmp_path: Path) -> None:
    run = Run(
        *(tmp_path, "nebula: direct", "{after: direct, do: block_udp, to: ra, for_s: 5}"),
        "{at_s: 4, do: block_udp, to: ra, for_s: 12}",
        duration_s=21,
    )
    assert [one["undone"] for one in run.happened] == [False, False, True, True], run.happened
    lasts = run.value("phase_answered_ratio", "after the end of block_udp ra")
    assert lasts is not None and lasts < 0.1, ("the second lasts", run.happened)
    assert run.path("after the end of block_udp ra #2") == "direct"


def test_two_partitions_that_cross_end_with_the_second(tmp_path: Path) -> None:
    run = Run(
        *(tmp_path, "underlay: ", "{after: direct, do: partition, to: a, away_from: b, for_s: 3}"),
        "{at_s: 2, do: partition, to: a, away_from: b, for_s: 5}",
        duration_s=10,
    )
    assert [one["undone"] for one in run.happened] == [False, False, True, True]
    assert run.path("after the end of partition a") == "none"
    assert run.path("after the end of partition a #2") == "direct"


GROUP = {"topology": "parties", "params": "{n: 3, nat: full-cone, link: fibre}"}


def test_a_partition_leaves_those_alone_who_share_the_router(tmp_path: Path) -> None:
    run = Run(
        *(tmp_path, "refmesh: mesh", "{at_s: 1, do: move, to: p2, into: r1}"),
        "{at_s: 12, do: partition, to: p1, away_from: p3, for_s: 5}",
        duration_s=20,
        **GROUP,
    )
    parted = "after partition p1"
    assert run.path("after move p2", "p1-p3") == "direct" and run.path(parted, "p1-p3") != "direct"
    share = run.value("phase_answered_ratio", parted, "p2-p3")
    assert run.path(parted, "p2-p3") == run.path("after move p2", "p2-p3") and share is not None and share > 0.9


def test_who_is_not_there_yet_does_not_keep_the_others_from_being_direct(tmp_path: Path) -> None:
    run = Run(tmp_path, "underlay: ", "{after: direct, do: add_member, to: p3}", duration_s=6, **GROUP)
    assert [one["do"] for one in run.happened] == ["add_member"]
    assert run.path("after add_member p3", "p1-p3") == "direct"
