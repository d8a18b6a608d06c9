"""Who stands back for the links' helper, and who need not."""

from __future__ import annotations

import os
from typing import Any, cast

import pytest

from harness.link.accounting import Accounting
from harness.link.backend import RunningLinks
from harness.link.precedence import LAB_NICENESS, stand_back


def links(realtime: bool | None) -> RunningLinks:
    """Links whose backend says so of its priority."""
    account = Accounting(backend="x", realtime=realtime)
    return cast(RunningLinks, cast(Any, type("Links", (), {"accounting": lambda _: account})()))


def niceness_afterwards(realtime: bool | None, before: int) -> int:
    """In a process of its own, for there is no way back."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpriority(os.PRIO_PROCESS, 0, before)
        stood_back = stand_back(links(realtime))
        now = os.getpriority(os.PRIO_PROCESS, 0)
        os.write(writer, f"{now if stood_back == (realtime is False) else -100}".encode())
        os._exit(0)
    os.close(writer)
    said = os.read(reader, 10)
    os.close(reader)
    os.waitpid(child, 0)
    return int(said)


@pytest.mark.parametrize(
    ("realtime", "before", "after"),
    [(False, 5, LAB_NICENESS), (False, 15, 15), (True, 5, 5), (None, 5, 5)],
    ids=["ordinary helper", "nicer already", "real-time helper", "the kernel carries the links"],
)
def test_the_lab_stands_back_behind_an_ordinary_helper_alone(realtime: bool | None, before: int, after: int) -> None:
    assert niceness_afterwards(realtime, before) == after
