"""What a report says was asked: how often each condition was run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from result_samples import Maker

from harness.report.facts import asked
from harness.results.loading import load
from harness.results.store import RunFolder
from harness.scenario.load import POPULATIONS
from harness.simulation.load import load_population
from harness.simulation.run import prepare, simulate


class Silent:
    def advance(self, worlds: int) -> None:
        """Say nothing."""


@pytest.mark.parametrize("with_plan", [True, False], ids=["run", "published"])
@pytest.mark.parametrize(
    ("group", "worlds"),
    [
        ([2, 3], "2 per pair of access types, 5 per size of larger groups"),
        ([2], "2 per pair of access types"),
        ([3, 4], "5 per size of larger groups"),
    ],
)
def test_a_simulation_says_how_many_worlds_of_what(
    tmp_path: Path, group: list[int], worlds: str, *, with_plan: bool
) -> None:
    """It said `repeats 5` where pairs had two worlds."""
    access = {name: {"share": 0.5, "routers": [name]} for name in ("full-cone", "port-restricted")}
    file = tmp_path / "small.yaml"
    matrix = {"technique": ["plain", "birthday"], "group": group}
    file.write_text(yaml.safe_dump({"description": "x", "access": access, "matrix": matrix, "worlds": 2, "groups": 5}))
    loaded = load_population(str(file), POPULATIONS)
    folder, left = prepare(loaded, tmp_path / "out", resume=False)
    simulate(loaded, folder, left, 1, Silent())
    if not with_plan:
        (tmp_path / "out" / "plan.json").unlink()
    said = dict(asked(load(tmp_path / "out")))
    assert said["worlds"] == worlds
    assert "repeats" not in said


@pytest.mark.parametrize(("more", "said"), [(0, "2"), (3, "2 to 5")])
def test_a_lab_says_how_often_each_condition_was_run(tmp_path: Path, more: int, said: str) -> None:
    """With `until` some conditions are repeated more often than others."""
    folder, maker = RunFolder(tmp_path / "lab"), Maker()
    folder.create({"schema": 3, "scenario": "demo", "run": "abc", "started_at": "2026-11-23T12:00:00+00:00"}, [])
    for nat, repeats in (("full-cone", 2), ("symmetric", 2 + more)):
        for repeat in range(1, repeats + 1):
            trial: dict[str, Any] = {"trial": f"{nat}-{repeat}", "repeat": repeat, "nat_a": nat}
            folder.append([maker.one("trial", "duration_s", "s", 20.0, **trial)])
    folder.close()
    assert dict(asked(load(tmp_path / "lab")))["repeats"] == said
