"""Words about what was expected: no more than the records carry."""

from __future__ import annotations

from typing import Any

import pytest

from harness.model.expectation import ExpectedNumber
from harness.report.expected import expected_table, sentence
from harness.results.expectations import Expected
from harness.results.run_judgement import RunJudgement, judge_run

AT_MOST_5 = (ExpectedNumber(metric="added_rtt_p50_ms", max=5),)


def row(trial: str, metric: str, value: float | None, **more: Any) -> dict[str, Any]:
    fields = {"src": None, "dst": None, "outcome": "ok", "path": None, "probe": "x", "phase": None, "error": None}
    return fields | {"trial": trial, "metric": metric, "value": value, "evidence": metric} | more


def judged(values: list[float | None], outcomes: tuple[str, ...] = ("ok", "failed")) -> RunJudgement:
    """Trials of one cell, None: it failed, which is allowed."""
    rows = []
    for number, value in enumerate(values):
        trial, pair = f"t{number}", {"src": "a", "dst": "b"}
        if value is not None:
            rows.append(row(trial, "connect_success", 1.0, path="direct", **pair))
            rows.append(row(trial, "added_rtt_p50_ms", value, **pair))
        outcome = "failed" if value is None else "ok"
        rows.append(row(trial, "duration_s", 5.0, probe="trial", outcome=outcome))
    expected = [Expected(f"t{number}", "c", outcomes=outcomes, numbers=AT_MOST_5) for number in range(len(values))]
    return judge_run(expected, rows)


def test_a_number_says_of_how_many_trials_it_knows_nothing() -> None:
    (number,) = judged([3.0, *[None] * 9]).numbers
    assert number.judgement == "not decided" and number.silent == 9
    assert "n = 1; 9 more trials gave no value)" in number.text
    (whole,) = judged([3.0] * 6).numbers
    assert whole.text.endswith("n = 6)")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([3.0] * 6, "expects: all met ("),
        ([4.0, 6.0] * 3, "expects: none broken, but not all decided ("),
        ([6.0] * 6, "expects: not all met ("),
    ],
)
def test_what_is_not_decided_is_not_called_as_expected(values: list[float | None], said: str) -> None:
    assert said in sentence(judged(values))


def test_a_failure_of_the_harness_is_in_the_sentence_as_it_is_in_the_exit_code() -> None:
    rows = [row("t0", "connect_success", 1.0, path="direct", src="a", dst="b"), row("t0", "duration_s", 5.0)]
    rows.append(row("t1", "duration_s", 5.0, probe="trial", outcome="error", error="tap died"))
    found = judge_run([Expected("t0", "c", paths=("direct",)), Expected("t1", "d")], rows)
    assert "met; errors of the harness in trials: 1 (exit code 4)" in sentence(found)


def test_the_table_says_that_few_repeats_have_no_interval_of_95_percent() -> None:
    table = expected_table(judged([5.1, 5.2]))
    assert table is not None and "fewer than six repeats" in " ".join(table.note.split())
    assert "covers 50 %" in table.rows[0][1]
