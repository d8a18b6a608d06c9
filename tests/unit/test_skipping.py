"""What this machine lacks is skipped by name where the scenario says so, and refused with its remedy elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.campaign.run import without_missing
from harness.hosts.local import LocalHost
from harness.machine import skipping
from harness.overlay.contract import Requirement
from harness.scenario.planned import Planned, plan_trials

SCENARIO = """\
description: x
topology: two-sites
overlays: {{underlay: , refmesh: mesh, libp2p: mesh}}
probes: [path]
{more}
"""


@pytest.fixture(autouse=True)
def _lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Return a machine that has everything but libp2p's program."""

    def missing(requirements: Sequence[Requirement]) -> list[Requirement]:
        return [one for one in requirements if one.program == "overlaybench-libp2p"]

    monkeypatch.setattr(skipping, "missing", missing)


def here() -> LocalHost:
    return LocalHost(label="x", jobs=1, overlays={})


def planned(folder: Path, more: str = "", only: str = "") -> Planned:
    (folder / "s.yaml").write_text(SCENARIO.format(more=more))
    return plan_trials(str(folder / "s.yaml"), {"overlay": only.split()} if only else {})


def test_an_overlay_that_is_not_installed_is_skipped_by_name(tmp_path: Path) -> None:
    whole = planned(tmp_path, "not_installed: skip")
    left, skipped = without_missing(whole, here())
    assert skipped == {"libp2p": "it needs overlaybench-libp2p: overlaybench install libp2p"}
    assert left.overlays.keys() == {"underlay", "refmesh"}
    assert [trial.id for trial in left.trials] == [t.id for t in whole.trials if t.overlay != "libp2p"]


def test_without_leave_nothing_is_skipped(tmp_path: Path) -> None:
    whole = planned(tmp_path)
    assert without_missing(whole, here()) == (whole, {})


@pytest.mark.parametrize("only", ["libp2p", "libp2p underlay"])
def test_what_was_asked_for_alone_is_not_skipped(tmp_path: Path, only: str) -> None:
    whole = planned(tmp_path, "not_installed: skip", only)
    assert without_missing(whole, here()) == (whole, {})
