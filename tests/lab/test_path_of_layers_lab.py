"""The path verdict of streams and of content in whole trials: through the real command line and real products."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.overlay.install import missing
from harness.overlay.registry import load_overlay
from tests.lab.running import overlaybench

pytestmark = [pytest.mark.lab, pytest.mark.waits]

SCENARIO = """\
description: which way streams and contents go
topology: two-sites
params: {{nat_a: {nat}, nat_b: {nat}}}
overlays:
  {overlay}: [{modes}]
probes:
  path: {{deadline_s: {deadline_s}}}
{more}
expect:
  - when: {{mode: [mesh, direct]}}
    path: {path}
"""


def figures(
    folder: Path, overlay: str, modes: str, *, nat: str, path: str, deadline_s: int = 60, more: str = ""
) -> dict[str, dict[str, Any]]:
    """Run a scenario that expects the path; its records of the path, and others, by mode and metric.

    A direct path ends the search: only one that does not come takes `deadline_s`.
    """
    if lacking := missing(load_overlay(overlay).requirements()):
        pytest.skip(f"{overlay} needs {lacking[0].program}: {lacking[0].install}")
    text = SCENARIO.format(nat=nat, overlay=overlay, modes=modes, path=path, deadline_s=deadline_s, more=more)
    (folder / "s.yaml").write_text(text)
    done = overlaybench("run", str(folder / "s.yaml"), "--out", str(folder / "run"), "--no-report")
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = {}
    for line in (folder / "run" / "records.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert row["outcome"] == "ok", row
        assert row["evidence"] is None or (folder / "run" / row["evidence"]).exists(), row
        found.setdefault(row["mode"], {})[row["metric"]] = row
    return found


def test_streams_are_direct_once_a_hole_is_punched_and_so_are_later_ones(tmp_path: Path) -> None:
    # frp decides for each connection: those before the hole is there are given to the relay.
    found = figures(tmp_path, "frp", "mesh, hub", nat="port-restricted", path="direct")
    mesh = {metric: row["value"] for metric, row in found["mesh"].items()}
    assert mesh["hole_punch_success"] == 1
    direct_s, connected_s = mesh["time_to_direct_s"], mesh["time_to_connect_s"]
    # Where the hole is there before the first connection is, that one is direct.
    assert direct_s == connected_s > 0 or direct_s > connected_s > 0.9
    assert mesh["new_streams_direct_ratio"] == 1
    assert found["hub"]["connect_success"]["path"] == "relayed"
    assert "time_to_direct_s" not in found["hub"]


def test_streams_that_cannot_be_punched_are_relayed(tmp_path: Path) -> None:
    found = figures(tmp_path, "libp2p", "mesh", nat="symmetric", path="relayed", deadline_s=15)
    assert found["mesh"]["hole_punch_success"]["value"] == 0
    assert found["mesh"]["connect_success"]["value"] == 1


def test_content_is_direct_where_its_bytes_are_and_http_stands_beside_it(tmp_path: Path) -> None:
    found = figures(
        tmp_path, "bittorrent", "direct", nat="port-restricted", path="direct", more="  content: {sizes_mb: [0.1, 1]}"
    )
    direct = {metric: row["value"] for metric, row in found["direct"].items()}
    assert direct["time_to_direct_s"] == direct["time_to_connect_s"] > 0
    assert direct["content_intact"] == 1
    assert direct["content_goodput_ratio"] == pytest.approx(
        direct["content_goodput_mbit"] / direct["underlay_content_goodput_mbit"]
    )
