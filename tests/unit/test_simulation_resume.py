"""A simulation that goes on is computed by what it was begun with, or is refused with what differs."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.scenario.load import POPULATIONS
from harness.simulation import run
from harness.simulation.load import load_population
from harness.simulation.run import prepare


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("harness_commit", r"another commit of overlaybench \("),
        ("engine_version", r"another engine \(overlays.refmesh"),
    ],
)
def test_a_simulation_goes_on_with_the_programs_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, said: str
) -> None:
    loaded = load_population("churn", POPULATIONS)
    folder, _ = prepare(loaded, tmp_path / "out", resume=False)
    prepare(loaded, tmp_path / "out", resume=True)
    monkeypatch.setattr(run, asked, lambda *_of: "something else")
    with pytest.raises(ScenarioError, match=f"{said}.*, now something else"):
        prepare(loaded, tmp_path / "out", resume=True)
    # A folder of an earlier version does not tell, and goes on.
    manifest = folder.manifest()
    folder.write_manifest({key: manifest[key] for key in manifest if key not in run._NAMES})
    prepare(loaded, tmp_path / "out", resume=True)
