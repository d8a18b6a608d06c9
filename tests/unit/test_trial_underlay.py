"""Whose fault an underlay is that carries nothing, whichever probe finds it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fake_lab import LATE_US, Fake, Ground, failing, run_of, values

from harness.errors import LabNotAsDeclared, OverlayError
from harness.probes.mpyc_log import Ran

Does = Callable[[], int]


def one() -> int:
    return 1


def nothing() -> int:
    return 0


@pytest.mark.parametrize("below", [nothing, failing("cut off")], ids=["nothing came", "the tool says so"])
def test_a_baseline_that_carries_nothing_makes_the_trial_invalid(below: Does, tmp_path: Path) -> None:
    log: list[str] = []
    run, _ = run_of(tmp_path, log, Fake("load", "waiting", [one, below], under=True))
    with pytest.raises(LabNotAsDeclared, match=r"nothing to compare with: .*(carried nothing from a to b|cut off)"):
        run.run()
    assert values(run, "figure") == [1], "the overlay's figure is kept"


def test_a_baseline_is_looked_at_twice(tmp_path: Path) -> None:
    probe = Fake("load", "waiting", [one, failing("its control connection was lost"), one], under=True)
    run, _ = run_of(tmp_path, [], probe)
    run.run()
    assert len(probe.calls) == 3


def test_an_underlay_that_carries_nothing_fails_its_own_trial(tmp_path: Path) -> None:
    run, _ = run_of(tmp_path, [], Fake("load", "waiting", [nothing]), mode="underlay")
    with pytest.raises(OverlayError, match="the underlay carried nothing from a to b"):
        run.run()


def test_an_overlay_that_carries_nothing_is_a_result(tmp_path: Path) -> None:
    run, _ = run_of(tmp_path, [], Fake("load", "waiting", [nothing, one], under=True))
    run.run()
    assert values(run, "figure") == [0]


def test_where_an_overlay_fails_the_lab_is_looked_at_before_it_is_blamed(tmp_path: Path) -> None:
    log: list[str] = []
    cut_off = failing("cut off")
    run, _ = run_of(tmp_path, log, Fake("load", "waiting", [cut_off, nothing], under=True))
    with pytest.raises(LabNotAsDeclared, match="carried nothing from a to b"):
        run.run()
    assert log.index("overlay stopped") < log.index("underlay opened")

    good = Fake("load", "waiting", [cut_off, one], under=True)
    run, _ = run_of(tmp_path, [], good)
    with pytest.raises(OverlayError, match="cut off"):
        run.run()
    assert len(good.calls) == 2


def test_who_looks_inside_finds_the_overlay_that_failed_still_running(tmp_path: Path) -> None:
    log: list[str] = []
    probe = Fake("load", "waiting", [failing("cut off"), one], under=True)
    run, _ = run_of(tmp_path, log, probe, pause=lambda failure: log.append(f"paused: {failure}"))
    with pytest.raises(OverlayError, match="cut off"):
        run.run()
    assert log.index("paused: cut off") < log.index("overlay stopped") < log.index("underlay opened")


@pytest.mark.parametrize("below", [one, nothing], ids=["it carries", "it does not"])
def test_what_the_timeline_broke_is_mended_before_the_underlay_is_opened(below: Does, tmp_path: Path) -> None:
    log: list[str] = []
    run, _ = run_of(tmp_path, log, Fake("load", "waiting", [one, below], under=True))
    run.timeline.settle = lambda: log.append("timeline settled")  # type: ignore[method-assign]
    with contextlib.nullcontext() if below is one else pytest.raises(LabNotAsDeclared):
        run.run()
    stopped, settled, opened = (log.index(what) for what in ("overlay stopped", "timeline settled", "underlay opened"))
    assert stopped < settled < opened


def test_where_nothing_is_compared_no_underlay_is_opened(tmp_path: Path) -> None:
    log: list[str] = []
    run, _ = run_of(tmp_path, log, Fake("load", "waiting", [one]))
    run.run()
    assert "overlay stopped" in log and "underlay opened" not in log


def test_late_links_are_said_beside_a_baseline_that_carried_nothing(tmp_path: Path) -> None:
    ground_of: list[Ground] = []

    def late() -> int:
        ground_of[0].slow_links.send(LATE_US)
        return 0

    run, ground = run_of(tmp_path, [], Fake("load", "waiting", [one, late], under=True))
    ground_of.append(ground)
    with pytest.raises(LabNotAsDeclared, match=r"while doing load; .*carried nothing"):
        run.run()


def test_a_party_that_somebody_killed_is_not_the_underlays_fault() -> None:
    ended = Ran("derangement", (0.7,), (7728,), "p1.jsonl", "p2 ended with status 1: ")
    killed = replace(ended, killed=True)
    assert killed.why_halted(60) is None
    assert "carried only 1 runs" in str(ended.why_halted(60))
