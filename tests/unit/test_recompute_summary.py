"""The independent recomputation holds every row of summary.csv against the records, and misses those that are gone."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mesh_samples import mesh_of_five
from result_samples import Maker

from harness.results.frame import records_frame
from harness.results.metrics import METRICS
from harness.results.summary import COLUMNS, summarise
from tests.recompute.check import check
from tests.recompute.summary import is_censored, is_rate


def test_it_knows_of_every_metric_whether_it_is_a_rate_or_may_never_come() -> None:
    for metric in METRICS.values():
        assert is_rate({"metric": metric.name}) is (metric.estimator == "proportion"), metric.name
        assert is_censored(metric.name) is (metric.estimator == "censored median"), metric.name


def _run_of(folder: Path, trials: list[list[Any]]) -> list[dict[str, str]]:
    """Write a folder of these records, with the summary that the program makes of them; return its rows."""
    folder.mkdir()
    rows = [record.as_dict() for trial in trials for record in trial]
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summarise(records_frame(rows)).to_csv(folder / "summary.csv", index=False, float_format="%.6g")
    return list(csv.DictReader((folder / "summary.csv").open()))


def _written(folder: Path, rows: list[dict[str, str]]) -> list[str]:
    with (folder / "summary.csv").open("w") as file:
        writer = csv.DictWriter(file, list(COLUMNS))
        writer.writeheader()
        writer.writerows(rows)
    return check(folder).differences


@pytest.fixture(scope="module", params=["pair", "mesh", "phases"])
def summarised(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Make runs of seven trials a cell: one pair of members, ten of them, one with an event."""
    maker = Maker(full=True)
    trials: list[list[Any]] = maker.campaign(7)
    if request.param == "mesh":
        trials = [mesh_of_five(f"t{number}", repeat=number) for number in range(7)]
    if request.param == "phases":
        for number, trial in enumerate(trials):
            after = replace(trial[4], metric="phase_answered_ratio", phase="after kill s", value=0.1 * (number % 9))
            trial.insert(-1, replace(after, path="relayed" if number % 2 else "direct"))
    folder = tmp_path_factory.mktemp("summarised") / "run"
    return folder, _run_of(folder, trials)


def test_a_summary_agrees_in_every_row(summarised: Any) -> None:
    folder, rows = summarised
    assert _written(folder, rows) == []
    assert check(folder).compared["summary.csv"] == len(rows) > 50


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda row: row | {"n": str(int(row["n"]) + 7), "estimate": "999"}, ": n "),
        (lambda row: row | {"estimate": "999"}, "estimate 999, not"),
        (lambda row: row | {"ci_low": "-1"}, "ci_low -1, not"),
        (lambda row: row | {"ci_high": ""}, "ci_high empty, not"),
    ],
)
def test_every_row_that_is_wrong_is_found(
    summarised: Any, spoil: Callable[[dict[str, str]], dict[str, str]], said: str
) -> None:
    folder, rows = summarised
    # Of rates over pairs the interval needs the design effect; all others are held against.
    which = [row for row in rows if row["ci_low"] and not (row["over"] == "pairs" and "proportion" in row["method"])]
    assert len(which) > 30
    found = _written(folder, [spoil(row) if row in which else row for row in rows])
    assert sum(said in one for one in found) == len(which)


def test_rows_that_are_gone_are_missed(summarised: Any) -> None:
    folder, rows = summarised
    found = _written(folder, rows[:1])
    missed = {(row["metric"], row["src"], row["dst"], row["nat_a"], row["nat_b"], row["overlay"]) for row in rows[1:]}
    assert sum("no row" in one for one in found) >= len(missed) - 1
    split = next((row for row in rows if row["over"] == "runs" and row["path"] == "relayed"), None)
    if split is not None and sum(row["path"] == "direct" and row["metric"] == split["metric"] for row in rows):
        assert _written(folder, [row for row in rows if row is not split])
