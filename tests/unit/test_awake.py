"""Loops that keep a virtual machine's processors from halting: there while wanted, gone with whoever wanted them."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness import awake

HOLD = """
import sys, time
from harness import awake
awake.is_virtual = lambda: True
with awake.processors_awake() as loops:
    print(loops, flush=True)
    time.sleep(60)
"""


def children() -> list[int]:
    """Children of this process."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def test_every_processor_has_a_loop_of_the_lowest_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awake, "is_virtual", lambda: True)
    before = set(children())
    with awake.processors_awake() as loops:
        ours = set(children()) - before
        assert len(ours) == loops == len(os.sched_getaffinity(0))
        for pid in ours:
            while os.sched_getscheduler(pid) != os.SCHED_IDLE:
                os.sched_yield()
        assert sorted(cpu for pid in ours for cpu in os.sched_getaffinity(pid)) == sorted(os.sched_getaffinity(0))
    assert not ours & set(children())


def test_bare_metal_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awake, "is_virtual", lambda: False)
    before = set(children())
    with awake.processors_awake() as loops:
        assert loops == 0
        assert set(children()) == before


def test_loops_die_with_a_caller_that_is_killed() -> None:
    caller = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    loops = int(caller.stdout.readline())
    pids = [int(pid) for pid in Path(f"/proc/{caller.pid}/task/{caller.pid}/children").read_text().split()]
    assert len(pids) == loops > 0
    gone = [os.pidfd_open(pid) for pid in pids]
    try:
        caller.send_signal(signal.SIGKILL)
        caller.wait(timeout=10)
        for fd in gone:
            assert select.select([fd], [], [], 10)[0], "a loop outlived its caller"
    finally:
        for fd in gone:
            os.close(fd)


def test_stolen_time_is_read_in_seconds() -> None:
    assert 0 <= awake.stolen_s() < 1e9
