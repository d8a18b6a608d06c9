"""A simulation that goes on is computed by what it was begun with, or is refused with what differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import cli
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
    folder.write_manifest(folder.manifest() | {"labels": {"commit": "1a2b"}})
    monkeypatch.undo()
    prepare(loaded, tmp_path / "out", resume=True)
    prepare(loaded, tmp_path / "out", resume=True, labels={"commit": "1a2b"})
    with pytest.raises(ScenarioError, match=r"another label commit \(1a2b, now 3c4d\)"):
        prepare(loaded, tmp_path / "out", resume=True, labels={"commit": "3c4d"})
    monkeypatch.setattr(run, asked, lambda *_of: "something else")
    # A folder of an earlier version does not tell, and goes on.
    manifest = folder.manifest()
    folder.write_manifest({key: manifest[key] for key in manifest if key not in run._NAMES})
    prepare(loaded, tmp_path / "out", resume=True)


def test_runs_of_other_populations_or_programs_have_other_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of records of several runs is told apart by them: options and programs count besides text and seed."""
    loaded = load_population("churn", POPULATIONS)
    number = iter(range(10))

    def run_id(**changes: int) -> str:
        asked = replace(loaded, population=loaded.population.model_copy(update=changes))
        folder, _ = prepare(asked, tmp_path / str(next(number)), resume=False)
        return str(folder.manifest()["run"])

    ids = [run_id(), run_id(worlds=3), run_id(groups=7), run_id(seed=5)]
    for asked in ("harness_commit", "engine_version"):
        with monkeypatch.context() as patched:
            patched.setattr(run, asked, lambda *_of: "something else")
            ids.append(run_id())
    assert len(set(ids)) == len(ids) == 6
    assert run_id() == ids[0]


def test_a_wrong_address_of_a_scheduler_leaves_no_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(cli, ["simulate", "churn", "--hosts", "tcp://rack:8786", "--out", str(out)])
    assert isinstance(done.exception, ScenarioError) and "only one on loopback is taken" in str(done.exception)
    assert not out.exists()
