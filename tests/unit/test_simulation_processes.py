"""A process of a simulation that is killed: the run says so, and neither hangs nor leaves others behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable

import pytest

from harness.simulation.processes import ProcessKilled, in_processes


def nothing() -> None: ...


def slow(number: int) -> str:
    time.sleep(0.01)
    return str(number)


def killed_at_30(number: int) -> str:
    if number == 30:
        os.kill(os.getpid(), signal.SIGKILL)
    return slow(number)


def for_ever(number: int) -> str:
    if number:
        time.sleep(1000)
    return "0"


def gone() -> bool:
    until = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < until:
        time.sleep(0.02)
    return not multiprocessing.active_children()


@pytest.mark.parametrize("together", [1, 8])
def test_results_come_in_order(together: int) -> None:
    with in_processes(slow, range(50), 3, nothing, together=together) as found:
        assert list(found) == [str(number) for number in range(50)]
    assert gone()


@pytest.mark.parametrize("together", [1, 8])
def test_one_that_is_killed_ends_the_run_after_what_was_done(together: int) -> None:
    done = []
    with (
        pytest.raises(ProcessKilled, match="continue with --resume"),
        in_processes(killed_at_30, range(100), 2, nothing, together=together) as found,
    ):
        done += found
    assert gone()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_who_stops_listening_waits_for_nobody(error: type[BaseException]) -> None:
    def leave(work: Callable[[int], str]) -> None:
        with in_processes(work, range(4), 2, nothing) as found:
            assert next(found) == "0"
            raise error

    begun = time.monotonic()
    with pytest.raises(error):
        leave(for_ever)
    assert gone() and time.monotonic() - begun < 60
