"""Waiting awake: only for the answer to a packet after a pause, and less and less where answers take longer."""

from __future__ import annotations

from pathlib import Path

from overlays.refmesh.driver.crowd import Crowd
from overlays.refmesh.driver.eagerness import BESIDE, LIMIT_S, MAX_MISSES, PAUSE_S, Eagerness

NOBODY = Crowd(Path("/proc/nobody"))


def test_after_a_pause_an_answer_is_waited_for_awake() -> None:
    eagerness = Eagerness(NOBODY)
    eagerness.sent(100.0)
    assert eagerness.until_s == 100.0 + LIMIT_S
    eagerness.ended(answered=True)
    assert not eagerness.until_s
    eagerness.sent(100.0 + PAUSE_S / 2)
    assert not eagerness.until_s, "a transfer leaves the processor to others"
    eagerness.sent(100.0 + 2 * PAUSE_S)
    assert eagerness.until_s


def awake_s(packets: int, *, every_s: float, answers: bool) -> float:
    eagerness, spent_s = Eagerness(NOBODY), 0.0
    for number in range(packets):
        eagerness.sent(100 + number * every_s)
        if eagerness.until_s:
            spent_s += LIMIT_S
            eagerness.ended(answered=answers)
    return spent_s


def test_a_path_that_answers_late_costs_next_to_nothing() -> None:
    # 1 + 2 + 4 ... packets lie between the tries.
    assert awake_s(10_000, every_s=0.01, answers=False) <= (MAX_MISSES + 10_000 / 2**MAX_MISSES + 1) * LIMIT_S


def test_no_more_than_a_tenth_of_a_core_is_spent_at_the_worst() -> None:
    for every_s in (0.0001, PAUSE_S, 2 * PAUSE_S):
        assert awake_s(1000, every_s=every_s, answers=True) <= 0.11 * 1000 * every_s + LIMIT_S


def test_one_answer_in_time_makes_it_eager_again() -> None:
    eagerness = Eagerness(NOBODY)
    for number in range(3):
        while not eagerness.until_s:
            eagerness.sent(eagerness._sent_s + 1.0)
        eagerness.ended(answered=number == 2)
    eagerness.sent(eagerness._sent_s + 1.0)
    assert eagerness.until_s


def test_whether_answers_are_there_at_once_is_learned() -> None:
    eagerness = Eagerness(NOBODY)
    asked = 0
    for number in range(10_000):
        asked += eagerness.ask
        eagerness.sent(100.0 + number / 1000, answered=False if eagerness.ask else None)
    assert asked <= MAX_MISSES + 10_000 / 2**MAX_MISSES + 1
    while not eagerness.ask:
        eagerness.sent(200.0)
    eagerness.sent(300.0, answered=True)
    assert eagerness.ask
    assert not eagerness.until_s, "there is nothing to wait for"
    for number in range(BESIDE):
        eagerness.sent(301.0 + number)
        assert not eagerness.until_s, "the other end may need this processor"
    eagerness.sent(400.0)
    assert eagerness.until_s
