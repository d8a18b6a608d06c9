"""Rehearsing: while packets follow one another, for a small share of a core, and without any effect."""

from __future__ import annotations

import contextlib
from pathlib import Path

from overlays.refmesh.core.rehearsal import PACKET, Rehearsal
from overlays.refmesh.driver.crowd import Crowd
from overlays.refmesh.driver.stage import Stage
from overlays.refmesh.driver.warmth import CALM_S, CLOSE_S, EVERY_S, LATE_S, RUN, WINDOW_S, Warmth

NOBODY = Crowd(Path("/proc/nobody"))


class Counter:
    """Counts rehearsals, and finds that something is to be done where it is told so."""

    def __init__(self, *, done: bool = True) -> None:
        self.times = 0
        self.done = done

    def __call__(self, _now: float) -> bool:
        self.times += 1
        return self.done


def wait(warmth: Warmth, since_s: float, until_s: float) -> None:
    """Nothing comes between the two times."""
    while warmth.until_s and since_s + EVERY_S <= until_s:
        warmth.idle(since_s, since_s + EVERY_S)
        since_s += EVERY_S


def test_single_packets_are_not_worth_it() -> None:
    counter = Counter()
    warmth = Warmth(counter, NOBODY)
    for number in range(100):
        warmth.packet(100 + number * WINDOW_S * 1.02)
        warmth.packet(100 + number * WINDOW_S * 1.02 + 0.0003)  # and their answers
        assert not warmth.until_s
    assert not counter.times


def test_between_packets_that_follow_one_another_and_a_while_after() -> None:
    counter = Counter()
    warmth = Warmth(counter, NOBODY)
    for number in range(10):
        warmth.packet(100 + number * 0.02)
        wait(warmth, 100 + number * 0.02, 100 + number * 0.02 + 0.0199)
    assert 9 * 8 <= counter.times <= 9 * 10
    counter.times = 0
    wait(warmth, 101.0, 200.0)
    assert counter.times <= WINDOW_S / EVERY_S
    assert not warmth.until_s


def test_never_more_often_than_it_says() -> None:
    counter = Counter()
    warmth = Warmth(counter, NOBODY)
    now = 100.0
    for number in range(2000):
        pause_s = (0.0003, 0.0021, 0.0107, 0.039)[number % 4]
        warmth.packet(now)
        wait(warmth, now, now + pause_s)
        now += pause_s
    assert counter.times <= (now - 100) / EVERY_S


def test_a_late_waking_leaves_the_processor_to_others() -> None:
    counter = Counter()
    warmth = Warmth(counter, NOBODY)
    warmth.packet(100.0)
    warmth.packet(100.01)
    assert warmth.idle(100.01, 100.01 + EVERY_S + 2 * LATE_S)
    assert not counter.times
    assert not warmth.until_s
    warmth.packet(100.02)
    assert warmth.until_s, "the next packet is a new beginning"


def test_what_a_rehearsal_finds_is_looked_after() -> None:
    warmth = Warmth(Counter(done=False), NOBODY)
    warmth.packet(100.0)
    warmth.packet(100.01)
    assert not warmth.idle(100.01, 100.012)


def test_a_transfer_is_told_from_a_conversation() -> None:
    warmth = Warmth(Counter(), NOBODY)
    assert all(warmth.packet(100 + number * 2 * CLOSE_S) for number in range(100))
    assert not warmth.until_s, "closer than rehearsals would be"
    warmth.packet(100.04)
    assert warmth.until_s
    run = [warmth.packet(101 + number * CLOSE_S / 2) for number in range(RUN + 3)]
    assert run == [True] * (RUN + 1) + [False] * 2
    assert not warmth.until_s
    assert not warmth.packet(101 + CALM_S / 2)
    assert warmth.packet(101.1 + CALM_S)
    warmth.packet(101.11 + CALM_S)
    assert warmth.until_s
    warmth.transfer(102.0)
    assert not warmth.until_s
    assert not warmth.packet(102.1)
    assert warmth.packet(102.1 + CALM_S)


def test_a_rehearsal_seals_and_opens_for_ever() -> None:
    rehearsal = Rehearsal()
    (inlet,) = rehearsal.inlets.values()
    for counter in range(3):
        datagram = rehearsal.lane.seal(PACKET + bytes(-len(PACKET) & 15), 1e9)
        assert datagram is not None
        rehearsal.lane.note(len(PACKET), 1e9)
        assert inlet.open(counter, datagram[16:], 1e9) == PACKET
        inlet.note(len(PACKET), 1e9)


def test_the_stage_plays_the_whole_short_way_again_and_again() -> None:
    with contextlib.closing(Stage()) as stage:
        assert [stage.rehearse(1e9 + number) for number in range(5)] == [True] * 5
