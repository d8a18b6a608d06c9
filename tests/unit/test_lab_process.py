"""Daemons that are asked to end: how long they have, on a machine that lets them run and on one that does not."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.lab import process
from harness.lab.process import Daemon, waited_for_processor_s

NODE = cast(Any, SimpleNamespace(name="a", enter=lambda argv: argv))
# Says that it is there, and takes half a second to end when it is asked to.
SLOW = "trap 'sleep 0.5; exit 7' TERM; echo there; while :; do sleep 0.05; done"
DEAF = "trap '' TERM; echo there; while :; do sleep 0.05; done"


def started(folder: Path, script: str) -> Daemon:
    daemon = Daemon(NODE, ["sh", "-c", script], log=folder / "log", cwd=folder, env={})
    assert daemon.wait_for_line("there", 60)
    return daemon


def test_who_does_not_end_in_time_is_killed(tmp_path: Path) -> None:
    daemon = started(tmp_path, DEAF)
    daemon.stop(0.2)
    assert daemon.status == -9


def test_waiting_for_a_processor_is_not_taking_ones_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = started(tmp_path, SLOW)
    waited = iter([1.0, *[61.0] * 1000])
    monkeypatch.setattr(process, "waited_for_processor_s", lambda _pid: next(waited))
    daemon.stop(0.1)
    assert daemon.status == 7


def test_nor_is_it_waited_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = started(tmp_path, DEAF)
    monkeypatch.setattr(process, "LONGEST_GRACE_S", 0.5)
    monkeypatch.setattr(process, "waited_for_processor_s", lambda _pid: time.monotonic() * 10)
    daemon.stop(0.1)
    assert daemon.status == -9


def test_the_kernel_tells_how_long_a_process_waited(tmp_path: Path) -> None:
    daemon = started(tmp_path, DEAF)
    assert 0 <= waited_for_processor_s(daemon.pid) < 3600
    daemon.stop(0.1)
    assert waited_for_processor_s(daemon.pid) == 0
