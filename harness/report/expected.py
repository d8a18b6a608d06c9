"""What the scenario expected and what came of it, as the exit code of the run had it: from plan and records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from harness.errors import EXIT_HARNESS
from harness.report.tables import TextTable
from harness.results.expectations import Expected
from harness.results.loading import Results
from harness.results.run_judgement import RunJudgement, judge_run

_READ = ("trial", "probe", "metric", "value", "outcome", "path", "src", "dst", "phase", "error", "evidence")
_MOST = 100


def judged(results: Results) -> RunJudgement:
    """Judge the finished trials of a folder by its plan."""
    expected = [Expected.planned(entry) for entry in results.plan]
    if not any(one.anything for one in expected):
        return RunJudgement(finished=int((results.records["metric"] == "duration_s").sum()))
    metrics = {number.metric for one in expected for number in one.numbers}
    needed = results.records[results.records["metric"].isin({*metrics, "connect_success", "duration_s"})]
    return judge_run(expected, list(_rows(needed)))


def _rows(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield records as they are in records.jsonl, what nothing is said of being None."""
    part = frame[list(_READ)].astype(object)
    for row in part.where(part.notna(), None).itertuples(index=False, name=None):
        yield dict(zip(_READ, row, strict=True))


def sentence(found: RunJudgement) -> str:
    """Return what was judged, for the head of the page; nothing where nothing was expected."""
    if not found.judged:
        return ""
    how = "all met" if found.as_expected else "not all met"
    if found.as_expected and any(one.judgement == "not decided" for one in found.numbers):
        how = "none broken, but not all decided"
    if found.errors:
        how += f"; errors of the harness in trials: {len(found.errors)} (exit code {EXIT_HARNESS})"
    return f"What the scenario expects: {how} ({found.text})."


def expected_table(found: RunJudgement) -> TextTable | None:
    """Return numbers and complaints, the broken ones first; None where all that was expected are paths, which came."""
    numbers = sorted(found.numbers, key=lambda one: _ORDER.index(one.judgement))
    rows = [("not as expected", complaint) for complaint in found.complaints]
    rows += [(one.judgement, one.text) for one in numbers]
    if not rows:
        return None
    note = (
        "met: the whole 95 % interval keeps the bound. not met: no part of the interval keeps it. With fewer than "
        "six repeats a median has no 95 % interval and is not decided; it is against it if every repeat breaks the "
        "bound."
    )
    if len(rows) > _MOST:
        note += f" The first {_MOST} of {len(rows)}."
    return TextTable("Expected and found", ("verdict", "expected, found"), tuple(rows[:_MOST]), note=note)


_ORDER = ("not met", "against it", "not measured", "not decided", "met")
