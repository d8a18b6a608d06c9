"""Shards by the documentation's own commands: two parts, one after the other, and what `merge` makes of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.results.store import RunFolder
from tests.lab.hosts_runs import ends, scenario
from tests.lab.running import machine_state

pytestmark = [pytest.mark.lab, pytest.mark.waits, pytest.mark.timeout(280)]
NIGHT = pytest.mark.timeout(1500)
DOCS = Path(__file__).parents[2] / "docs" / "many-machines.md"


def documented() -> list[str]:
    """Return the commands of the chapter on shards."""
    chapter = DOCS.read_text().partition("\n## CI shards\n")[2].partition("\n## ")[0]
    return [line.strip() for line in chapter.splitlines() if line.startswith("    overlaybench ")]


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a run's `trials`, by its path there."""
    trials = folder / "trials"
    return {str(path.relative_to(trials)): path.read_bytes() for path in trials.rglob("*") if path.is_file()}


# The demo itself takes minutes and loads the machine.
@pytest.mark.parametrize("name", ["two.yaml", pytest.param("demo", marks=[pytest.mark.nightly, NIGHT])])
def test_two_shards_and_their_merging_by_the_documented_commands(tmp_path: Path, name: str) -> None:
    before = machine_state()
    (tmp_path / "two.yaml").write_text(scenario(repeats=2))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    commands = [line.replace(" demo ", f" {name} ") for line in documented()]
    assert [line.split()[1] for line in commands] == ["run", "run", "merge"]
    for line in commands:
        done = subprocess.run(
            ["sh", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        # 1: something was invalid, which a demo beside others may be; `merge` judges the whole.
        assert done.returncode == 0 or (done.returncode == 1 and name == "demo"), f"{line}: {done.stderr}"
    whole, parts = tmp_path / "runs" / "demo", [tmp_path / "part1", tmp_path / "part2"]
    *of_parts, of_whole = [
        # A merged run has one name, the first part's.
        {trial: {**end, "run": ""} for trial, end in ends(folder).items()}
        for folder in (*parts, whole)
    ]
    assert of_parts[0] and of_parts[1] and not of_parts[0].keys() & of_parts[1].keys()
    assert of_whole == {**of_parts[0], **of_parts[1]} and len(of_whole) == len(RunFolder(whole).plan()) > 3
    assert files_of(whole) == {**files_of(parts[0]), **files_of(parts[1])} != {}
    for part in of_parts:  # a block is in one of them, with all its overlays
        seeds = {line["seed"] for line in part.values()}
        assert all(line["trial"] in part for line in of_whole.values() if line["seed"] in seeds)
    assert (whole / "report.html").stat().st_size > 0
    assert "shard" not in json.loads((whole / "manifest.json").read_text())
    assert machine_state() == before
