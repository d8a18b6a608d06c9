"""A run of an ordinary user says before it starts that the machine is too busy, and what it waits for."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from harness.machine.busy import LOOK_S, PATIENCE_S, Ticks, idle_share, read_ticks, users, wait_for_room


def test_ticks_are_read_with_names_that_hold_anything(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  10 1 5 80 4 0 0 0 0 0\ncpu0 ...\n")
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text("7 (a (strange) name) S 1 7 7 0 -1 0 0 0 0 0 30 12 0 0 20 0\n")
    assert read_ticks(tmp_path) == Ticks(100, 84, {"a (strange) name (7)": 42})


def test_what_is_idle_and_who_is_not() -> None:
    before, after = Ticks(100, 50, {"a": 1, "b": 5}), Ticks(200, 75, {"a": 31, "b": 5, "c": 40})
    assert idle_share(before, after) == 0.25
    assert users(before, after) == ["c", "a"]


def run(busy_looks: int) -> tuple[bool, list[str], float]:
    """Return what comes of a machine that is busy for so many looks."""
    said: list[str] = []
    slept = [0.0]
    looks = count()

    def look() -> Ticks:
        number = next(looks)
        idle = 50 * max(0, (number + 1) // 2 - busy_looks)
        return Ticks(100 * number, idle, {"hog (1)": 90 * number})

    def sleep(seconds: float) -> None:
        slept[0] += seconds

    return wait_for_room(said.append, look, sleep), said, slept[0]


def test_nothing_is_said_where_there_is_room() -> None:
    assert run(busy_looks=0) == (True, [], LOOK_S)


def test_it_waits_and_says_what_for() -> None:
    room, said, _ = run(busy_looks=3)
    assert room and len(said) == 1
    assert "hog (1)" in said[0] and "waiting up to 20 s" in said[0]


def test_it_starts_in_the_end() -> None:
    room, said, slept_s = run(busy_looks=1000)
    assert not room and slept_s == PATIENCE_S
    assert "invalid" in said[-1]
