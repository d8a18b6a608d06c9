"""The rate that a policer is seen to have, on a machine that is put off between two steps: it lies in the bracket."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from harness.nat import check_line, discovery_rate
from harness.nat.policing import Policer

RATE_MBIT = 8.0
SIZE_BYTES = 1000
# A second's worth, a bundle, and what comes while they are sent: the batch of 32 that is cut short ends with this.
BUCKET_IS_EMPTY = 34 * 32 - 1


class Line:
    """A policer between a sender and what has arrived, by a clock, on a machine that does something else at times.

    Args:
        after: behind this datagram, and
        late_s: for so long (s) the sender is put off, and by so much every wait is late.
    """

    def __init__(self, after: int, late_s: float) -> None:
        self.now_s, self.sent, self.arrived = 0.0, 0, list[int]()
        self._policer, self._after, self._late_s = Policer(RATE_MBIT), after, late_s

    def send(self) -> None:
        self.now_s += 20e-6
        if self._policer.passes(SIZE_BYTES, self.now_s):
            self.arrived.append(self.sent)
        if self.sent == self._after:
            self.now_s += self._late_s
        self.sent += 1

    def pump(self, until: Callable[[], bool], timeout_s: float) -> bool:
        if not until():
            self.now_s += timeout_s
        return until()

    def wait(self, duration_s: float) -> None:
        self.now_s += duration_s + self._late_s


def with_clock(late_s: float, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Line]:
    line = Line(BUCKET_IS_EMPTY, late_s)
    for module in (check_line, discovery_rate):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: line.now_s))
    return SimpleNamespace(wire=line), line


@pytest.mark.parametrize("late_s", [0.0, 0.9])
def test_a_bucket_s_depth_tells_the_rate_however_long_its_emptying_lasted(
    late_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, line = with_clock(late_s, monkeypatch)
    low, high = check_line._depth_mbit(setup, line.send, line.arrived, RATE_MBIT, SIZE_BYTES)
    assert low < RATE_MBIT < high < 1.25 * RATE_MBIT


@pytest.mark.parametrize("late_s", [0.0, 2.0])
def test_what_fills_a_bucket_tells_the_rate_even_where_it_ran_over_meanwhile(
    late_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, line = with_clock(late_s, monkeypatch)
    low, high = discovery_rate._passed_mbit(setup, line.send, line.arrived, RATE_MBIT)
    assert low < RATE_MBIT < high < 1.25 * RATE_MBIT
