"""`run --no-report`: what was recorded stays, no table tells of a part of it alone, and `report` makes the page."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from click.testing import CliRunner
from result_samples import Maker

from harness.campaign.campaign import Tally
from harness.campaign.run import RunResult
from harness.commands import run
from harness.commands.console import Console
from harness.commands.report import report_command
from harness.results.run_judgement import judge_run
from harness.results.store import RunFolder


def test_records_stay_and_report_makes_the_page_of_all_of_them(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create({"schema": 1, "scenario": "demo"}, [])
    first, *rest = Maker().campaign(1)[::6]
    folder.append(first)
    folder.finish()  # what an earlier part of the run wrote
    for trial in rest:
        folder.append(trial)
    result = RunResult(folder, Tally({"ok": 5}), planned=6, before=1, judgement=judge_run([], folder.read().records))
    said = io.StringIO()
    run._report(result, Console(file=said), page=False)
    assert {path.name for path in folder.path.iterdir()} == {"manifest.json", "plan.json", "records.jsonl", "trials"}
    assert said.getvalue() == ""
    done = CliRunner().invoke(report_command, [str(folder.path)])
    assert (done.exit_code, done.stdout.strip()) == (0, str(folder.path / "report.html")), done.output
    with (folder.path / "summary.csv").open() as file:
        assert {row["overlay"] for row in csv.DictReader(file)} == {trial[0].overlay for trial in (first, *rest)}
