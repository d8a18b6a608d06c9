"""Trace files: what is read, and errors with file, line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.link.traces import load_trace, parse_trace, rate_of_trace_mbit, trace_problems
from harness.model.link import parse_link


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
