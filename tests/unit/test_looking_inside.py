"""What `run --live` says, what `captures` may say, and which runs pause: the pure parts."""

from __future__ import annotations

import errno
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click.testing import CliRunner
from rich.console import Console

from harness.campaign.progress import PlainProgress
from harness.commands.run import run_command
from harness.errors import CommandFailed, ScenarioError
from harness.lab import counters
from harness.lab.capture import LINKTYPE_RAW, CaptureWriter, read_capture
from harness.probes.measurement import Measurement
from harness.scenario.load import load_topology
from harness.scenario.planned import plan_trials
from harness.trial import pause
from harness.trial.live import PathsNow, Rate, event_line, figure_lines, line_of, rates_between
from harness.trial.messages import Step
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


def test_no_path_is_told_by_counters_that_could_not_be_read_or_began_again(monkeypatch: pytest.MonkeyPatch) -> None:
    source = load_topology("two-sites")
    topology = source.resolve(source.complete({}))
    a, b = topology.hosts["a"], topology.hosts["b"]
    public = {name: topology.routers[router].outside.ipv4[0] for name, router in (("a", "ra"), ("b", "rb"))}
    server = ip_address(topology.address("s"))

    def seen(direct: int, relayed: int) -> dict[counters.Flow, int]:
        ends = ((a.on, a.addresses[0], public["b"]), (b.on, b.addresses[0], public["a"]))
        both = [(on, *ways) for on, near, far in ends for ways in itertools.permutations((near, far))]
        by_server = [(on, *ways) for on, near, _ in ends for ways in itertools.permutations((near, server))]
        return {counters.Flow(*one): total for some, total in ((both, direct), (by_server, relayed)) for one in some}

    # It was relayed before this view began; it is direct now.
    readings: list[Any] = [seen(0, 90_000), seen(1000, 90_000), None, seen(2000, 90_000), seen(3000, 90_000)]
    readings += [seen(500, 400), seen(1500, 400)]  # a port has moved: the counters stand at nothing again

    def read() -> dict[counters.Flow, int]:
        reading = readings.pop(0)
        if reading is None:
            raise CommandFailed(["nft"], 1, "busy", "the sandbox")
        return cast(dict[counters.Flow, int], reading)

    monkeypatch.setattr(counters, "read", read)
    paths = PathsNow(cast(Any, SimpleNamespace(topology=topology)))
    told = [paths.look().get(("a", "b")) for _ in range(len(readings))]
    assert told == ["direct", None, None, "direct", None, "direct"]


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
    assert (done.returncode, f"{tmp_path}:0: TRIAL: its lab has ended" in done.stderr) == (2, True), done


def test_a_trial_is_left_standing_once_and_only_where_there_is_a_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[str | None] = []

    def wait(_folder: Path, _nodes: object, error: str | None, tell: Callable[[], None]) -> None:
        tell()
        waited.append(error)

    monkeypatch.setattr(pause, "wait_for_user", wait)
    nodes: dict[str, int] = {}
    said: list[bool] = []
    pauses = Pauses(("failed", "invalid"), tmp_path, say=lambda step: said.append(step.waits), nodes=lambda: nodes)
    pauses.after("failed", "no lab yet")
    nodes["a"] = 17
    pauses.after("error", "ours")
    pauses.after("failed", "cut off")
    pauses.after("invalid", "the underlay is dead")
    assert waited == ["cut off"] and said == [True, False], "whoever went on is not stopped again"


def test_a_trial_can_be_entered_and_let_go_on_once_its_user_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[object] = []

    def say(step: Step) -> None:
        record = tmp_path / RECORD
        found.append(json.loads(record.read_text()) if record.exists() else None)
        if step.waits:
            with (tmp_path / GO_ON).open("wb", buffering=0) as fifo:
                fifo.write(b"g")

    with Path(os.devnull).open("rb") as stdin:  # which never hangs up
        monkeypatch.setattr(sys, "stdin", stdin)
        Pauses(("failed",), tmp_path, say=say, nodes=lambda: {"a": 17}).after("failed", "cut off")
    assert found == [{"error": "cut off", "nodes": {"a": 17}}, None], "and it is gone when the trial goes on"


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


def test_a_trial_that_cannot_be_left_standing_still_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pause, "wait_for_user", full)
    said: list[str] = []
    pauses = Pauses(("failed",), tmp_path, say=lambda step: said.append(step.text), nodes=lambda: {"a": 17})
    pauses.after("failed", "cut off")
    assert len(said) == 1 and "cannot pause" in said[0] and "No space left" in said[0]
