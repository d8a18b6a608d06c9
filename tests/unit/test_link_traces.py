"""Trace files: what is read, and errors with file, line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.link.traces import load_trace, parse_trace, rate_of_trace_mbit, trace_problems
from harness.model.link import parse_link
from harness.model.trial import Trial
from harness.scenario.planned import plan_trials
from harness.scenario.traces import keep_traces


def test_values_come_in_the_models_units() -> None:
    assert parse_trace("# Mahimahi\n0\n1\n1\n\n4\n", "rate", "f") == (0, 1_000_000, 1_000_000, 4_000_000)
    assert parse_trace("0010\n1\n", "loss", "f") == (0, 0, 1, 0, 1)
    assert parse_trace("1.5\n-0.25\n", "jitter", "f") == (1_500_000, -250_000)
    assert rate_of_trace_mbit(parse_trace("1\n1\n4\n", "rate", "f")) == pytest.approx(9)


@pytest.mark.parametrize(
    ("kind", "text", "line", "words"),
    [
        ("rate", "1\n2\nx\n", 3, "whole number of milliseconds, not 'x'"),
        ("rate", "1\n-2\n", 2, "whole number"),
        ("rate", "5\n4\n", 2, "never goes back"),
        ("rate", "0\n0\n", 0, "longer than 0 ms"),
        ("rate", "# nothing\n", 0, "empty"),
        ("rate", "99999999999\n", 1, "too late"),
        ("loss", "01\n012\n", 2, "only 0 (delivered) and 1 (lost)"),
        ("jitter", "1\nnan\n", 2, "offset in milliseconds"),
    ],
)
def test_a_malformed_trace_is_named_by_file_line_and_field(
    tmp_path: Path, kind: str, text: str, line: int, words: str
) -> None:
    path = tmp_path / "trace"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        load_trace(path, kind, "up.rate_file")  # type: ignore[arg-type]
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.field) == (str(path), line, "up.rate_file")
    assert words in problem.text


def test_a_missing_trace_is_found_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "good").write_text("1\n")
    link = parse_link(
        {"up": {"rate_file": "good", "queue_packets": 9}, "down": {"loss": {"kind": "trace", "file": "no"}}}
    )
    (problem,) = trace_problems(link, tmp_path)
    assert (problem.file, problem.field) == (str(tmp_path / "no"), "loss.file")


def test_a_device_or_folder_is_no_trace(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/zero")):
        with pytest.raises(ScenarioError, match="plain file"):
            load_trace(path, "loss")


SCENARIO = """\
description: a link that plays a trace
topology: two-sites
params:
  nat_a: none
  nat_b: none
  link_a: {delay_ms: 2, rate_file: cell.trace, queue_packets: 50}
overlays: {underlay: }
probes: {path: {deadline_s: 5}}
"""


def rate_files(trials: list[Trial]) -> set[str | None]:
    return {way.rate_file for trial in trials for link in trial.topology.impaired_links() for way in link.ways}


def test_a_relative_trace_starts_at_the_scenarios_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(SCENARIO)
    (tmp_path / "cell.trace").write_text("1\n2\n3\n")
    trials = plan_trials(str(tmp_path / "mine.yaml")).trials
    assert rate_files(trials) == {str(tmp_path / "cell.trace")}


def test_a_wrong_trace_is_wrong_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(SCENARIO)
    with pytest.raises(ScenarioError, match="rate_file: no rate trace there"):
        plan_trials(str(tmp_path / "mine.yaml"))
    (tmp_path / "cell.trace").write_text("1\nsoon\n")
    with pytest.raises(ScenarioError) as caught:
        plan_trials(str(tmp_path / "mine.yaml"))
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.field) == (str(tmp_path / "cell.trace"), 2, "rate_file")


def test_a_run_keeps_its_traces_and_resumes_with_no_others(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(SCENARIO)
    (tmp_path / "cell.trace").write_text("1\n2\n3\n")
    trials = plan_trials(str(tmp_path / "mine.yaml")).trials
    own, kept = keep_traces(trials, tmp_path / "run")
    ((name, _),) = kept.items()
    assert (tmp_path / "run" / "traces" / name).read_text() == "1\n2\n3\n"
    assert rate_files(own) == {str(tmp_path / "run" / "traces" / name)}
    assert keep_traces(trials, tmp_path / "run", kept)[1] == kept
    (tmp_path / "cell.trace").write_text("1\n2\n4\n")
    with pytest.raises(ScenarioError, match="not the trace with which"):
        keep_traces(trials, tmp_path / "run", kept)
    assert [path.name for path in (tmp_path / "run" / "traces").iterdir()] == [name]
