"""The event loop's order: what has come in is read before anybody is given up for not having answered."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from overlays.refmesh.driver import loop as loop_module
from overlays.refmesh.driver.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    """Return a loop, which takes signals for itself; the test's are put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield Loop()
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def rounds(loop: Loop, octets: bytes) -> list[bool]:
    """Whether something overdue was done after each round, until the first in which it was; a round reads one octet."""
    reader, writer = os.pipe()
    os.write(writer, octets)
    loop.add(reader, lambda _: os.read(reader, 1) and None)
    done: list[bool] = []
    due_s: list[float] = []

    def after(now: float) -> None:
        due_s[:] = due_s or [now]
        done.append(loop.due(due_s[0], now))
        if done[-1]:
            loop.stop()

    loop.run(lambda: due_s[0] if due_s else 0.0, after)
    os.close(writer)
    os.close(reader)
    return done


def test_input_goes_before_timers(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "LATE_S", 60.0)
    assert rounds(loop, b"123") == [False, False, False, True]


def test_but_not_for_ever(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "LATE_S", 0.0)
    assert rounds(loop, b"123") == [False, True]  # in the first round it was due, but not late


def test_what_is_done_needs_nothing_after_it_until_it_is_time(loop: Loop) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"dddxd")
    read: list[bytes] = []
    looked: list[int] = []

    def handler(_: float) -> bool:
        read.append(os.read(reader, 1))
        return read[-1] == b"d"

    def after(_: float) -> None:
        looked.append(len(read))
        if len(looked) > 1:
            loop.stop()

    loop.add(reader, handler)
    # With the fifth octet it is time.
    loop.run(lambda: 0.0 if len(read) > 3 else float("inf"), after)
    os.close(writer)
    os.close(reader)
    assert looked == [4, 5]
