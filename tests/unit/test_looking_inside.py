"""What `run --live` says, what `captures` may say, and which runs pause: the pure parts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click.testing import CliRunner
from rich.console import Console

from harness.campaign.progress import PlainProgress
from harness.commands.run import run_command
from harness.errors import ScenarioError
from harness.lab.capture import LINKTYPE_RAW, CaptureWriter, read_capture
from harness.probes.measurement import Measurement
from harness.scenario.planned import plan_trials
from harness.trial import pause
from harness.trial.live import Rate, event_line, figure_lines, line_of, rates_between
from harness.trial.pause import GO_ON, RECORD, Pauses

SCENARIO = "description: x\ntopology: two-sites\noverlays: {{underlay: }}\nprobes: [path]\ncaptures: {}\n"
TRIAL = cast(Any, SimpleNamespace(id="t_r1"))


def planned(folder: Path, captures: str) -> Any:
    (folder / "mine.yaml").write_text(SCENARIO.format(captures))
    return plan_trials(str(folder / "mine.yaml")).trials[0].captures


def test_captures_are_nodes_or_more(tmp_path: Path) -> None:
    assert planned(tmp_path, "[a, rb]").nodes == ("a", "rb")
    assert planned(tmp_path, "s").nodes == ("s",)
    assert planned(tmp_path, "{nodes: [a], max_mb: 1, frame_bytes: 128}").max_mb == 1


@pytest.mark.parametrize(
    ("captures", "said"),
    [
        ("[a, rx]", "mine.yaml:5: captures[1]: no such node (there are a, b, s, ra, rb)"),
        ("{nodes: [a1]}", "mine.yaml:5: captures.nodes[0]: no such node (did you mean a?)"),
        ("{nodes: [a], max_mb: 0}", "mine.yaml:5: captures.max_mb: "),
        ("{nodes: [a], mb: 3}", "mine.yaml:5: captures.mb: unknown key"),
    ],
)
def test_wrong_captures_are_told_at_check(tmp_path: Path, captures: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        planned(tmp_path, captures)
    assert any(said in str(problem) for problem in caught.value.problems), caught.value.problems


def test_an_interface_may_come_to_a_capture_later(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path / "x.pcapng", ["eth0"], 100)
    writer.frame(0, 1_000, b"first", 5)
    number = writer.add("tun0", LINKTYPE_RAW)
    writer.frame(number, 2_000, b"second", 6)
    writer.close()
    with (tmp_path / "x.pcapng").open("rb") as file:
        assert list(read_capture(file)) == [("eth0", 1_000, b"first"), ("tun0", 2_000, b"second")]


def test_a_moment_in_a_line() -> None:
    before, after = {"a": (0, 0), "b": (500, 0)}, {"a": (250_000, 125), "b": (500, 0), "c": (9, 9)}
    rates = rates_between(before, after, 2.0)
    assert rates == {"a": Rate(1.0, 0.0005), "b": Rate(0.0, 0.0)}
    assert line_of(rates, {("a", "b"): "direct"}) == "now: a up 1.00 down 0.00 Mbit/s; a-b direct"
    assert line_of(rates, {("a", "b"): "none"}) == "now: a up 1.00 down 0.00 Mbit/s"
    assert line_of({"b": Rate(0.0, 0.0)}, {}) is None


def test_figures_and_events_in_lines() -> None:
    figures = [
        Measurement(probe="path", metric="m", unit="s", value=1.23456, src="a", dst="b", path="direct"),
        Measurement(probe="path", metric="other", unit="s", value=1.0),
        Measurement(probe="path", metric="m", unit="s", value=None, src="a", dst="c"),
    ]
    assert figure_lines(figures, "m") == ["path: a-b m 1.235 s, direct"]
    assert event_line(cast(Any, SimpleNamespace(do="kill", to="s", undone=True))) == "event: kill s undone"


@pytest.mark.parametrize(("live", "seen"), [(False, ["paused: why"]), (True, ["deploying", "now: a", "paused: why"])])
def test_a_log_shows_a_pause_always_and_all_steps_when_asked(live: bool, seen: list[str]) -> None:
    console = Console(record=True, width=200)
    with PlainProgress(console, 1, live=live) as progress:
        for text in ("deploying", "now: a", "paused: why"):
            progress.step(TRIAL, text)
    assert [line.partition("t_r1: ")[2] for line in console.export_text().splitlines()] == seen


@pytest.mark.parametrize("more", [["--go-on"], [], ["a"]])
def test_a_lab_that_was_killed_while_it_waited_is_said_to_be_gone(tmp_path: Path, more: list[str]) -> None:
    """What a killed run leaves: its note, and a FIFO that nobody reads. In a process, which may be one that hangs."""
    os.mkfifo(tmp_path / GO_ON)
    (tmp_path / RECORD).write_text('{"error": "x", "nodes": {"a": 2}}')
    argv = [sys.executable, "-m", "harness.cli", "enter", str(tmp_path), *more]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, f"{tmp_path}:0: TRIAL: its lab is gone" in done.stderr) == (2, True), done


def test_a_trial_is_left_standing_once_and_only_where_there_is_a_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[str | None] = []
    monkeypatch.setattr(pause, "wait_for_user", lambda _folder, _nodes, error: waited.append(error))
    nodes: dict[str, int] = {}
    said: list[bool] = []
    pauses = Pauses(("failed", "invalid"), tmp_path, say=lambda step: said.append(step.waits), nodes=lambda: nodes)
    pauses.after("failed", "no lab yet")
    nodes["a"] = 17
    pauses.after("error", "ours")
    pauses.after("failed", "cut off")
    pauses.after("invalid", "the underlay is dead")
    assert waited == ["cut off"] and said == [True, False], "whoever went on is not stopped again"


def test_labs_are_left_standing_on_this_machine_alone() -> None:
    done = CliRunner().invoke(run_command, ["smoke", "--hosts", "elsewhere", "--keep-failed"])
    assert (done.exit_code, "on this machine" in done.output) == (2, True)
    done = CliRunner().invoke(run_command, ["smoke", "--hosts", "tls://elsewhere:8786", "--live"])
    assert (done.exit_code, "--live shows labs on this machine" in done.output) == (2, True), (
        "nothing is shown of others"
    )


def test_a_scheduler_is_not_told_how_many_trials_its_workers_take() -> None:
    done = CliRunner().invoke(run_command, ["smoke", "--hosts", "tls://elsewhere:8786", "--jobs", "3"])
    assert (done.exit_code, "--nthreads" in done.output) == (2, True), done.output
