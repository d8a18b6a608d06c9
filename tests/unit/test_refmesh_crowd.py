"""Where others need the processors a node neither rehearses nor waits awake; it sees so by its own run delay."""

from __future__ import annotations

from pathlib import Path

import pytest

from overlays.refmesh.driver.crowd import LOOK_S, REST_S, Crowd
from overlays.refmesh.driver.eagerness import PAUSE_S, Eagerness
from overlays.refmesh.driver.warmth import EVERY_S, Warmth


class Schedstat:
    """A kernel's /proc/self/schedstat: each time slice is waited for `wait_s`."""

    def __init__(self, file: Path) -> None:
        self.file, self.slices, self.waited_ns = file, 0, 0
        self.add(0, 0.0)

    def add(self, slices: int, wait_s: float) -> None:
        self.slices += slices
        self.waited_ns += int(slices * wait_s * 1e9)
        self.file.write_text(f"123456 {self.waited_ns} {self.slices}\n")


@pytest.fixture
def kernel(tmp_path: Path) -> Schedstat:
    return Schedstat(tmp_path / "schedstat")


def rehearsals(kernel: Schedstat, crowd: Crowd, wait_s: float, seconds: float, begin_s: float = 100.0) -> int:
    """How often is rehearsed in a conversation of one packet every 20 ms, each wake-up waiting so long to run."""
    times = 0

    def rehearse(_now: float) -> bool:
        nonlocal times
        times += 1
        return True

    warmth = Warmth(rehearse, crowd)
    now = begin_s
    while now < begin_s + seconds:
        warmth.packet(now)
        for number in range(9):
            if not warmth.until_s:
                break
            kernel.add(1, wait_s)
            warmth.idle(now + number * EVERY_S, now + (number + 1) * EVERY_S)
        now += 0.02
    return times


def test_on_a_machine_with_room_it_rehearses(kernel: Schedstat) -> None:
    assert rehearsals(kernel, Crowd(kernel.file), 5e-6, 10.0) > 10.0 / EVERY_S * 0.8


def test_where_others_wait_for_the_processor_it_leaves_off(kernel: Schedstat) -> None:
    crowd = Crowd(kernel.file)
    assert rehearsals(kernel, crowd, 4e-4, 20.0) < 20.0 / EVERY_S * 0.06
    assert crowd.until_s > 100.0


def test_it_begins_again_when_there_is_room(kernel: Schedstat) -> None:
    crowd = Crowd(kernel.file)
    rehearsals(kernel, crowd, 4e-4, 1.0)
    assert rehearsals(kernel, crowd, 5e-6, 20.0, 101.0) > (20.0 - REST_S) / EVERY_S * 0.8


def test_a_single_long_wait_is_no_crowd(kernel: Schedstat) -> None:
    crowd = Crowd(kernel.file)
    crowd.look(100.0)
    kernel.add(1, 0.02)
    crowd.look(100.0 + LOOK_S)
    assert not crowd.until_s


@pytest.mark.parametrize("text", ["", "1 2", "a b c", "123 0 0"])
def test_a_kernel_that_tells_nothing_is_no_crowd(kernel: Schedstat, text: str) -> None:
    crowd = Crowd(kernel.file)
    kernel.file.write_text(text)
    for number in range(10):
        crowd.look(100.0 + number)
    kernel.file.unlink()
    crowd.look(200.0)
    assert not crowd.until_s
    assert not Crowd(kernel.file).until_s


@pytest.mark.parametrize(("wait_s", "awake"), [(5e-6, True), (4e-4, False)])
def test_nothing_is_waited_for_awake_in_a_crowd(kernel: Schedstat, wait_s: float, awake: bool) -> None:
    eagerness = Eagerness(Crowd(kernel.file))
    waits = 0
    for number in range(200):
        kernel.add(10, wait_s)
        eagerness.sent(100.0 + number * PAUSE_S * 2)
        if eagerness.until_s:
            waits += 1
            eagerness.ended(answered=True)
    assert waits > 190 if awake else waits < 20


def test_the_real_kernel_tells() -> None:
    crowd = Crowd()
    crowd.look(0.0)
    crowd.look(1.0)
    assert Path("/proc/self/schedstat").exists()
    assert crowd.slices > 0
