"""Timelines: refused at check with their line, planned as said, done in order with measured moments, read from logs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import OverlayError, ScenarioError
from harness.model.timeline import TimelineItem
from harness.probes.answers import Answers, longest_gap_s, parse_pings, recovery_s
from harness.scenario.planned import plan_trials
from harness.timeline.contract import Event, NoSettings
from harness.trial.deploy import RunningOverlay
from harness.trial.schedule import Schedule

SCENARIO = """\
description: x
topology: two-sites
params: {link_a: fibre}
overlays: {underlay: , refmesh: mesh}
probes: {path: {}, continuity: {duration_s: 5}}
timeline:
"""


def planned(tmp_path: Path, *items: str, text: str = SCENARIO) -> list[Any]:
    file = tmp_path / "mine.yaml"
    file.write_text(text + "".join(f"  - {item}\n" for item in items))
    return plan_trials(str(file)).trials


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("{do: kill, to: s}", "give `at_s` or `after`"),
        ("{at_s: 1, after: ready, do: kill, to: s}", "give `at_s` or `after`"),
        ("{at_s: 1, do: kil, to: s}", "unknown event kil (did you mean kill?)"),
        ("{at_s: 1, do: kill, to: x}", "kill cannot be done to x (there are a, b, s)"),
        ("{at_s: 1, do: reboot, to: a}", "reboot cannot be done to a (did you mean ra?)"),
        ("{at_s: 1, do: reboot, to: ra, for_s: 3}", "reboot cannot be undone"),
        ("{at_s: 1, do: kill, to: s, sevice: x}", "kill: unknown key sevice"),
        ("{at_s: -1, do: kill, to: s}", "timeline[0].at_s"),
        ("{at_s: 1, do: kill, to: s, for_s: 0}", "`for_s` is longer than nothing"),
        ("{at_s: .inf, do: kill, to: s}", "timeline[0].at_s"),
        ("{at_s: [], do: kill, to: s}", "an empty list sweeps nothing"),
        ("{after: noon, do: kill, to: s}", "timeline[0].after"),
        ("{at_s: 1, do: link_change, to: rb, link: lte}", "the link of rb is `ideal`"),
        ("{at_s: 1, do: link_change, to: ra, link: nosuch}", "nosuch"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(tmp_path: Path, item: str, said: str) -> None:
    with pytest.raises(ScenarioError) as error:
        planned(tmp_path, item)
    assert said in str(error.value)
    assert "mine.yaml:7: timeline" in str(error.value)


def test_a_timeline_without_traffic_shows_nothing(tmp_path: Path) -> None:
    text = SCENARIO.replace(", continuity: {duration_s: 5}", "")
    with pytest.raises(ScenarioError, match="a timeline needs the probe `continuity`"):
        planned(tmp_path, "{at_s: 1, do: kill, to: s}", text=text)


def test_times_are_swept_and_make_conditions(tmp_path: Path) -> None:
    trials = planned(tmp_path, "{at_s: [1, 3], do: kill, to: s, for_s: 2}", "{after: ready, do: reboot, to: ra}")
    assert len(trials) == 4 and len({trial.id for trial in trials}) == 4
    assert {(trial.params["kill_at_s"], trial.timeline[0].at_s) for trial in trials} == {(1.0, (1.0,)), (3.0, (3.0,))}
    assert all(trial.timeline[0].for_s == (2.0,) and trial.timeline[1].after == "ready" for trial in trials)
    again = type(trials[0]).model_validate_json(trials[0].model_dump_json())
    assert again.timeline == trials[0].timeline


class Noted(Event[NoSettings]):
    """Writes down what is done; takes effect half a second later than it begins."""

    name = "noted"
    settings = NoSettings

    def __init__(self, log: list[str], clock: Clock) -> None:
        self.log, self.clock = log, clock

    def subjects(self, topology: Any) -> tuple[str, ...]:
        del topology
        return ("x",)

    def perform(self, lab: Any, overlay: Any, subject: str, settings: NoSettings) -> float:
        del lab, overlay, settings
        self.log.append(f"{self.clock():g} do {subject}")
        return self.clock() + 0.5

    def undo(self, lab: Any, overlay: Any, subject: str, settings: NoSettings) -> None:
        del lab, overlay, settings
        self.log.append(f"{self.clock():g} undo {subject}")


class Clock:
    """Time that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def item(**said: Any) -> TimelineItem:
    return TimelineItem.model_construct(**{"at_s": None, "after": None, "for_s": None, "settings": {}, **said})


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
    """A trial in which the server was killed, for two seconds; the services `dying` died at that moment as well."""
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


PINGS = """\
PING 10.77.0.2 (10.77.0.2) 200(228) bytes of data.
[100.010] 208 bytes from 10.77.0.2: icmp_seq=1 ttl=64 time=10.0 ms
[100.201] no answer yet for icmp_seq=2
[100.301] no answer yet for icmp_seq=4
[100.250] 208 bytes from 10.77.0.2: icmp_seq=3 ttl=64 time=50.0 ms
[100.251] 208 bytes from 10.77.0.2: icmp_seq=3 ttl=64 time=51.0 ms (DUP!)
[100.260] 208 bytes from 10.77.0.2: icmp_seq=2 ttl=64 time=160 ms
[103.310] 208 bytes from 10.77.0.2: icmp_seq=33 ttl=64 time=110 ms
"""


def test_pings_are_read_with_what_came_twice_or_late() -> None:
    found = parse_pings(PINGS)
    assert found.answered_s == (100.01, 100.25, 100.26, 103.31)
    assert [round(sent, 3) for sent in found.sent_s] == [100.0, 100.2, 100.1, 103.2]
    assert (found.duplicates, found.reordered) == (1, 1) and found.silent_s == (100.301,)


def test_the_gap_counts_from_the_event_and_to_the_end() -> None:
    found = parse_pings(PINGS)
    assert longest_gap_s(found.answered_s, 100.0, 104.0) == pytest.approx(3.05)
    assert longest_gap_s(found.answered_s, 103.4, 110.0) == pytest.approx(6.6)
    assert longest_gap_s([], 1.0, 3.0) == 2.0


def test_what_was_under_way_when_it_happened_is_no_recovery() -> None:
    answers = Answers((100.0, 100.2, 103.2), (100.05, 100.4, 103.3), (), 0, 0)
    assert recovery_s(answers, 100.3, 110.0) == pytest.approx(3.0), "the answer at 100.4 was asked for before"
    assert recovery_s(answers, 100.3, 103.0) is None
    assert recovery_s(answers, 104.0, 110.0) is None
