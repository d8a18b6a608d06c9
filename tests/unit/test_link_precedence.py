"""Who stands back for the links' helper, and who need not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest

from harness.link.accounting import Accounting
from harness.link.backend import RunningLinks
from harness.link.precedence import LAB_NICENESS, PIN_LEVER, POLICY_LEVER, deprioritise_lab, session_niceness


def links(realtime: bool | None) -> RunningLinks:
    """Links whose backend says so of its priority."""
    account = Accounting(backend="x", realtime=realtime)
    return cast(RunningLinks, cast(Any, type("Links", (), {"accounting": lambda _: account})()))


def niceness_afterwards(realtime: bool | None, before: int) -> list[int]:
    """Of the process and of its session; in ones of their own, for there is no way back."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.setpriority(os.PRIO_PROCESS, 0, before)
        stood_back = deprioritise_lab(links(realtime))
        now = os.getpriority(os.PRIO_PROCESS, 0)
        os.write(writer, f"{now if stood_back == (realtime is False) else -100} {session_niceness()}".encode())
        os._exit(0)
    os.close(writer)
    said = os.read(reader, 10)
    os.close(reader)
    os.waitpid(child, 0)
    return [int(word) for word in said.split()]


@pytest.mark.parametrize(
    ("realtime", "before", "after"),
    [(False, 5, [LAB_NICENESS] * 2), (False, 15, [15, LAB_NICENESS]), (True, 5, [5, 0]), (None, 5, [5, 0])],
    ids=["ordinary helper", "nicer already", "real-time helper", "the kernel carries the links"],
)
def test_the_lab_stands_back_behind_an_ordinary_helper_alone(
    realtime: bool | None, before: int, after: list[int]
) -> None:
    own, session = niceness_afterwards(realtime, before)
    assert own == after[0]
    if Path("/proc/self/autogroup").exists():
        assert session == after[1]


def policy_afterwards(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> tuple[int, int]:
    """Return scheduling policy and number of processors of a process that has stood back with a lever pulled."""
    monkeypatch.setenv(name, value)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        deprioritise_lab(links(False))
        os.write(writer, f"{os.sched_getscheduler(0)} {len(os.sched_getaffinity(0))}".encode())
        os._exit(0)
    os.close(writer)
    policy, count = map(int, os.read(reader, 20).split())
    os.close(reader)
    os.waitpid(child, 0)
    return policy, count


def test_levers_are_pulled_only_where_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    usable = len(os.sched_getaffinity(0))
    assert policy_afterwards(monkeypatch, "NOTHING", "1") == (os.SCHED_OTHER, usable)
    assert policy_afterwards(monkeypatch, POLICY_LEVER, "batch") == (os.SCHED_BATCH, usable)
    monkeypatch.delenv(POLICY_LEVER)
    assert policy_afterwards(monkeypatch, PIN_LEVER, "1") == (os.SCHED_OTHER, max(1, usable - 1))
