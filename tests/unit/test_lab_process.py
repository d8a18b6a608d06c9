"""Daemons: what is kept of what they say, and how long they have to end where they may run and elsewhere."""

from __future__ import annotations

import os
import re
import sys
import threading
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
    told = re.fullmatch(r"(\d+\.\d) s after SIGTERM, \d+\.\d of them without a processor: sh \w .*", daemon.outlasted)
    assert told, daemon.outlasted
    assert float(told.group(1)) >= 0.2


def test_of_who_ends_by_itself_nothing_is_told(tmp_path: Path) -> None:
    daemon = started(tmp_path, SLOW)
    daemon.stop(60)
    assert (daemon.status, daemon.outlasted) == (7, "")


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


CHATTER = """
print("first words")
for number in range({count}):
    print("x" * 98)
print("found it at last", flush=True)
"""


def chatterer(folder: Path, count: int, then: str = "") -> Daemon:
    script = CHATTER.format(count=count) + then
    return Daemon(NODE, [sys.executable, "-c", script], log=folder / "log", cwd=folder, env={})


def test_of_one_that_says_much_the_end_is_in_memory_and_the_whole_in_its_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("what it said before it was started again\n")
    lines = 3 * process.KEPT_CHARACTERS // 99
    daemon = chatterer(tmp_path, lines)
    assert daemon.wait_for_line("at last\n", 60) and daemon.wait(60) == 0
    assert len(daemon._text) <= process.TAIL_CHARACTERS
    assert daemon.tail.endswith("x\nfound it at last\n")
    whole = "first words\n" + ("x" * 98 + "\n") * lines + "found it at last\n"
    assert daemon.text == whole
    assert (tmp_path / "log").read_text() == "what it said before it was started again\n" + whole
    assert daemon.wait_for_line("^first words", 0), "what is no longer in memory is found"
    assert daemon.wait_for_line(r"x\nfound it at last", 0)
    assert not daemon.wait_for_line("^x", 0) and not daemon.wait_for_line("^found", 0), "its log begins otherwise"
    assert daemon.wait_for_line("(?m)^found", 0)
    assert not daemon.wait_for_line("started again", 0), "nor is it this one that said so"


def test_a_line_that_comes_after_much_else_is_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "go"
    os.mkfifo(fifo)
    daemon = chatterer(tmp_path, 2 * process.KEPT_CHARACTERS // 99, f"open({str(fifo)!r}).read()\nprint('come')")
    assert daemon.wait_for_line("at last", 60)
    assert not daemon.wait_for_line("come", 0)
    found: list[bool] = []
    waiting = threading.Thread(target=lambda: found.append(daemon.wait_for_line("last\ncome", 60)))
    waiting.start()
    fifo.write_text("")
    waiting.join()
    assert found == [True]


def test_a_match_across_two_parts_of_a_long_log_is_found(tmp_path: Path) -> None:
    at = process.KEPT_CHARACTERS
    script = f"import sys; sys.stdout.write('x' * ({at} - 4) + 'across' + 'x' * {at})"
    daemon = Daemon(NODE, [sys.executable, "-c", script], log=tmp_path / "log", cwd=tmp_path, env={})
    assert daemon.wait_for_line("across", 60) and not daemon.wait_for_line("cross$", 60)
    assert daemon.wait(60) == 0
