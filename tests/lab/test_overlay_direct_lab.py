"""`direct` never relays, also where nothing else could connect: behind two symmetric NATs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.overlay.install import missing
from harness.overlay.registry import load_overlay, overlay_names
from harness.overlay.support import kinds_of
from tests.lab.running import overlaybench, records

pytestmark = [pytest.mark.lab, pytest.mark.waits]


def test_direct_modes_are_cut_off_rather_than_relayed(tmp_path: Path) -> None:
    """Nebula's mesh in the same run shows that a relay would have been seen."""
    here = [name for name in overlay_names() if not missing(load_overlay(name).requirements())]
    # The path probe judges interfaces; streams and content have their own look at this in the contract test.
    here = [name for name in here if "interface" in kinds_of(load_overlay(name))]
    overlays: dict[str, object] = {name: "direct" for name in here if "direct" in load_overlay(name).modes}
    assert {"refmesh", "wireguard", "ipsec", "nebula"} <= overlays.keys()
    scenario = {
        "description": "direct modes where only a relay connects",
        "topology": "two-sites",
        "params": {"nat_a": "symmetric", "nat_b": "symmetric"},
        "overlays": {**overlays, "nebula": ["mesh", "direct"]},
        "probes": {"path": {"deadline_s": 20}},
    }
    (tmp_path / "direct.yaml").write_text(yaml.safe_dump(scenario))
    done = overlaybench("run", str(tmp_path / "direct.yaml"), "--out", str(tmp_path / "run"), "--no-report")
    assert done.returncode == 0, done.stderr
    seen = {
        (record["overlay"], record["mode"]): record["path"]
        for record in records(tmp_path / "run")
        if record["metric"] == "connect_success"
    }
    assert seen.pop(("nebula", "mesh")) == "relayed"
    assert seen.keys() == {(name, "direct") for name in overlays}
    # Birthday probing may find a direct way; that is luck.
    assert set(seen.values()) <= {"none", "direct"}, seen
