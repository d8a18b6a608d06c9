"""`until:` for real: a success rate that is narrow after six runs is not repeated ten times."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import cli

SCENARIO = """\
description: the underlay until its success is known to within 20 points
topology: two-sites
overlays: {underlay: }
probes: {path: {deadline_s: 5}}
repeats: 10
until: {metric: connect_success, half_width: 0.2}
"""


@pytest.mark.lab
@pytest.mark.waits
def test_a_cell_stops_when_its_interval_is_narrow(tmp_path: Path) -> None:
    scenario = tmp_path / "until.yaml"
    scenario.write_text(SCENARIO)
    out = tmp_path / "out"
    done = CliRunner().invoke(cli, ["run", str(scenario), "--out", str(out), "--no-report"])
    assert done.exit_code == 0, done.output
    trials = {json.loads(line)["trial"] for line in (out / "records.jsonl").read_text().splitlines()}
    assert len(trials) == 6
    reached = json.loads((out / "manifest.json").read_text())["until"]
    assert [(cell["n"], cell["reason"]) for cell in reached] == [(6, "narrow enough")]
    assert reached[0]["half_width"] == pytest.approx(0.195, abs=0.001)
