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
import os, pathlib, sys, time
from harness import awake
awake.is_virtual = lambda: True
awake.LATENCY_DEVICE = pathlib.Path("/nonexistent")
with awake.processors_awake() as way:
    assert way == "idle loops"
    print(len(os.sched_getaffinity(0)), flush=True)
    time.sleep(60)
"""


def children() -> list[int]:
    """Children of this process."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def test_without_a_privilege_every_processor_has_a_loop_of_the_lowest_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awake, "is_virtual", lambda: True)
    monkeypatch.setattr(awake, "LATENCY_DEVICE", Path("/nonexistent"))
    before = set(children())
    with awake.processors_awake() as way:
        assert way == "idle loops"
        ours = set(children()) - before
        for pid in ours:
            while os.sched_getscheduler(pid) != os.SCHED_IDLE:
                os.sched_yield()
        assert sorted(cpu for pid in ours for cpu in os.sched_getaffinity(pid)) == sorted(os.sched_getaffinity(0))
    assert not ours & set(children())


def test_who_may_asks_the_kernel_instead_and_takes_the_request_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    device = tmp_path / "cpu_dma_latency"
    device.touch()
    monkeypatch.setattr(awake, "is_virtual", lambda: True)
    monkeypatch.setattr(awake, "LATENCY_DEVICE", device)
    monkeypatch.setattr(awake, "_cpuidle_driver", lambda: "haltpoll")
    before, open_before = set(children()), set(Path("/proc/self/fd").iterdir())
    with awake.processors_awake() as way:
        assert way == "latency request"
        assert device.read_bytes() == bytes(4), "0 us, as a 32-bit number"
        assert set(children()) == before
        assert device in {fd.resolve() for fd in Path("/proc/self/fd").iterdir()}, "held open"
    assert set(Path("/proc/self/fd").iterdir()) == open_before


def test_bare_metal_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awake, "is_virtual", lambda: False)
    before = set(children())
    with awake.processors_awake() as way:
        assert way is None
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
