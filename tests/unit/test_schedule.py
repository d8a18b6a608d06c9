"""A trial's schedule: events in their order, from when they took effect, and whom a dead daemon is blamed on."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_events import NOBODY, Clock, Noted, item

from harness.errors import OverlayError
from harness.timeline.contract import Event, NoSettings
from harness.trial.deploy import RunningOverlay
from harness.trial.schedule import Schedule


def test_events_are_done_in_order_and_last_from_when_they_took_effect(tmp_path: Path) -> None:
    clock, log = Clock(), list[str]()
    items = [
        item(do="noted", to="late", at_s=(4.0,)),
        item(do="noted", to="early", at_s=(1.0,), for_s=(2.0,)),
        item(do="noted", to="first", after="ready"),
    ]
    overlay: Any = SimpleNamespace(daemons={})
    schedule = Schedule(items, {"noted": Noted(log, clock)}, None, overlay, tmp_path, now=clock)  # type: ignore[arg-type]
    schedule.reached("ready")
    schedule.reached("connected")
    assert log == ["100 do first"] and schedule.poll() is None
    clock.now = 110.0
    schedule.begin()
    assert schedule.poll() == 1.0
    for clock.now in (110.9, 111.0, 113.4, 113.5, 113.6, 114.0):
        schedule.poll()
    assert log[1:] == ["111 do early", "113.5 undo early", "114 do late"]
    assert schedule.poll() is None
    kept = json.loads((tmp_path / "timeline.json").read_text())
    assert [(one["to"], one["due_s"], one["effective_s"], one["undone"]) for one in kept] == [
        ("first", 100.0, 100.5, False),
        ("early", 111.0, 111.5, False),
        ("early", 113.5, 113.5, True),
        ("late", 114.0, 114.5, False),
    ]


class Process:
    """A daemon of the overlay that dies when the test says so."""

    tail, status = "out of luck", -9

    def __init__(self, where: str) -> None:
        self.where, self.alive = where, True


class Killing(Noted):
    """Kills what runs on its subject, and starts other processes there; `others` die by itself meanwhile."""

    name = "killing"

    def __init__(self, *others: Process) -> None:
        self.others = others

    def perform(self, lab: Any, overlay: Any, subject: str, settings: NoSettings) -> float:
        del lab, settings
        for one in (*self.others, *(daemon for daemon in overlay.daemons.values() if daemon.where == subject)):
            one.alive = False
        return 100.0

    def undo(self, lab: Any, overlay: Any, subject: str, settings: NoSettings) -> None:
        del lab, settings
        overlay.daemons["hub"] = Process(subject)


def killed(tmp_path: Path, *dying: str) -> tuple[Schedule, RunningOverlay]:
    """Return a trial in which the server was killed for two seconds; the services `dying` died at that moment too."""
    overlay = RunningOverlay(None, None, tmp_path)  # type: ignore[arg-type]
    daemons: Any = {"hub": Process("s"), "end-a": Process("a"), "end-b": Process("b")}
    overlay.daemons = daemons
    events: Any = {"killing": Killing(*(daemons[name] for name in dying))}
    items = [item(do="killing", to="s", after="connected", for_s=(2.0,))]
    clock = Clock()
    schedule = Schedule(items, events, None, overlay, tmp_path, now=clock)  # type: ignore[arg-type]
    schedule.reached("connected")
    return schedule, overlay


def test_a_daemon_that_the_timeline_killed_is_not_the_overlays(tmp_path: Path) -> None:
    schedule, overlay = killed(tmp_path)
    assert not overlay.daemons["hub"].alive
    overlay.check_alive(schedule.stopped)
    with pytest.raises(OverlayError, match="hub on s died with status -9: out of luck"):
        overlay.check_alive()


def test_a_daemon_that_dies_while_another_is_killed_is_the_overlays(tmp_path: Path) -> None:
    schedule, overlay = killed(tmp_path, "end-b")
    with pytest.raises(OverlayError, match="end-b on b died"):
        overlay.check_alive(schedule.stopped)


def test_a_daemon_that_dies_after_it_was_started_again_is_the_overlays(tmp_path: Path) -> None:
    schedule, overlay = killed(tmp_path)
    clock: Any = schedule._now
    clock.now = 102.0
    schedule.poll()
    overlay.check_alive(schedule.stopped)
    again: Any = overlay.daemons["hub"]
    again.alive = False
    with pytest.raises(OverlayError, match="hub on s died"):
        overlay.check_alive(schedule.stopped)


def test_what_follows_a_moment_that_never_comes_is_named(tmp_path: Path) -> None:
    clock, log = Clock(), list[str]()
    items = [item(do="noted", to="x", after="direct"), item(do="noted", to="y", at_s=(5.0,))]
    schedule = Schedule(items, {"noted": Noted(log, clock)}, None, NOBODY, tmp_path, now=clock)  # type: ignore[arg-type]
    assert schedule.awaits("direct")
    schedule.begin()
    schedule.poll()
    assert schedule.never == ["noted x", "noted y"] and log == []
    schedule.reached("direct")
    schedule.reached("direct")
    assert log == ["100 do x"] and not schedule.awaits("direct") and schedule.never == ["noted y"]


class Slow(Noted):
    """Happens in three steps."""

    name = "slow"

    def further(self, lab: Any, subject: str, settings: NoSettings) -> list[tuple[float, NoSettings]]:
        del lab, subject
        return [(1.0, settings), (2.0, settings)]


def test_what_takes_a_while_is_one_event_and_ends_with_its_end(tmp_path: Path) -> None:
    clock, log = Clock(), list[str]()
    slow = item(do="slow", to="x", at_s=(1.0,), for_s=(1.2,))
    schedule = Schedule([slow], {"slow": Slow(log, clock)}, None, NOBODY, tmp_path, now=clock)  # type: ignore[arg-type]
    schedule.begin()
    for clock.now in (101.0, 102.0, 102.7, 104.0):
        schedule.poll()
    assert log == ["101 do x", "102 do x", "102.7 undo x"], "the step at 103 does not come any more"
    assert [one.undone for one in schedule.happened] == [False, True] and schedule.never == []
    assert len(json.loads((tmp_path / "timeline-steps.json").read_text())) == 1


class Joining(Noted):
    """Adds a member."""

    name = "joining"
    subject_is_absent = True


class Reviving(Noted):
    """Starts daemons again when it is undone."""

    def undo(self, lab: Any, overlay: Any, subject: str, settings: NoSettings) -> None:
        super().undo(lab, overlay, subject, settings)
        self.log += [f"{name} is back" for name in overlay.daemons]


class Once(Event[NoSettings]):
    """Cannot be undone."""

    name = "once"
    settings = NoSettings

    def subjects(self, topology: Any) -> tuple[str, ...]:
        del topology
        return ("x",)

    def perform(self, lab: Any, overlay: Any, subject: str, settings: NoSettings) -> None: ...


def test_what_is_still_in_force_ends_once_the_overlay_has_stopped_and_brings_no_daemon_back(tmp_path: Path) -> None:
    """Else the underlay would be compared with in a lab that is not as declared, or could not be opened at all."""
    clock, log = Clock(), list[str]()
    items = [
        item(do="noted", to="over", at_s=(1.0,), for_s=(2.0,)),
        item(do="noted", to="for good", at_s=(2.0,)),
        item(do="once", to="x", at_s=(2.0,)),
        item(do="noted", to="long", at_s=(3.0,), for_s=(60.0,)),
        item(do="noted", to="never", at_s=(9.0,)),
        item(do="joining", to="late", at_s=(9.0,)),
    ]
    events: Any = {"noted": Reviving(log, clock), "once": Once(), "joining": Joining(log, clock)}
    running: Any = SimpleNamespace(daemons={"hub": Process("s")})
    schedule = Schedule(items, events, None, running, tmp_path, now=clock)  # type: ignore[arg-type]
    schedule.begin()
    for clock.now in (101.0, 102.0, 103.0, 104.0):
        schedule.poll()
    log.clear()
    happened = list(schedule.happened)
    schedule.settle()
    assert log == ["104 undo long", "104 undo for good", "104 do late"], "the last first, and who was to come is let in"
    assert schedule.happened == happened, "this is no part of the timeline"
