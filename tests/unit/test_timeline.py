"""Timelines: refused at check with their line, planned as said, done in order with measured moments, read from logs."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from fake_events import NOBODY, Clock, Noted

from harness.errors import ScenarioError
from harness.model.link import parse_link
from harness.overlay.registry import load_overlay, overlay_names
from harness.overlay.support import kinds_of
from harness.probes.answers import Asked, Gap, longest_gap, path_at, path_recovery_s, recovery_s, reordered
from harness.probes.continuityfigures import AfterIdle, Continued, Held, figures_of, figures_of_trial
from harness.probes.measurement import Target
from harness.results.metrics import METRICS
from harness.scenario.planned import plan_trials
from harness.timeline.performing import Performed
from harness.timeline.ramps import between, ramp
from harness.trial.schedule import Schedule

SCENARIO = """\
description: x
topology: two-sites
params: {link_a: fibre}
overlays: {underlay: , refmesh: mesh}
probes: {path: {}, continuity: {duration_s: 9}}
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
        ("{at_s: 1, do: kill, to: s, for_s: 0}", "`for_s` must be greater than 0"),
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
    text = SCENARIO.replace(", continuity: {duration_s: 9}", "")
    with pytest.raises(ScenarioError, match="a timeline needs the probe `continuity` or `availability`"):
        planned(tmp_path, "{at_s: 1, do: kill, to: s}", text=text)


def test_two_beginnings_of_a_timeline_are_one_too_many(tmp_path: Path) -> None:
    text = SCENARIO.replace("continuity: {duration_s: 9}", "continuity: {}, availability: {}")
    with pytest.raises(ScenarioError, match="continuity and availability each set the timeline's zero"):
        planned(tmp_path, "{at_s: 1, do: kill, to: s}", text=text)


def test_a_probe_of_events_without_any_is_refused(tmp_path: Path) -> None:
    text = SCENARIO.replace("continuity: {duration_s: 9}", "availability: {}").replace("timeline:\n", "")
    with pytest.raises(ScenarioError, match="availability measures the effect of events, but there is no `timeline`"):
        planned(tmp_path, text=text)


def test_times_are_swept_and_make_conditions(tmp_path: Path) -> None:
    trials = planned(tmp_path, "{at_s: [1, 3], do: kill, to: s, for_s: 2}", "{after: ready, do: reboot, to: ra}")
    assert len(trials) == 4 and len({trial.id for trial in trials}) == 4
    assert {(trial.params["kill_at_s"], trial.timeline[0].at_s) for trial in trials} == {(1.0, (1.0,)), (3.0, (3.0,))}
    assert all(trial.timeline[0].for_s == (2.0,) and trial.timeline[1].after == "ready" for trial in trials)
    again = type(trials[0]).model_validate_json(trials[0].model_dump_json())
    assert again.timeline == trials[0].timeline


A_PING = (100.0, 100.1, 100.2, 100.3, 103.2)
ANSWERED = (100.01, 100.26, 100.25, None, 103.31)
TRAFFIC = [Asked(sent, answered) for sent, answered in zip(A_PING, ANSWERED, strict=True)]


def test_answers_that_were_overtaken_are_counted_once() -> None:
    assert reordered(TRAFFIC) == 1
    assert reordered([Asked(0, 5.0), Asked(1, 4.0), Asked(2, 3.0), Asked(3, None), Asked(4, 6.0)]) == 2


def gap_of(asked: list[Asked], begin_s: float, end_s: float) -> tuple[float, bool] | None:
    found = longest_gap(asked, begin_s, end_s)
    return None if found is None else (round(found.lasted_s, 6), found.is_open)


def test_the_gap_counts_from_the_event_on_and_one_that_is_not_over_has_no_length() -> None:
    assert gap_of(TRAFFIC, 100.0, 104.0) == (3.05, False), "from the last answer to the next"
    assert gap_of(TRAFFIC, 99.0, 102.0) == (1.74, True), "nothing came until the end: it was at least so long"
    assert Gap(1.74, is_open=True).value_s is None and Gap(1.01).value_s == 1.01
    silent = [Asked(1 + number / 10, None) for number in range(40)]
    assert gap_of(silent, 1.0, 3.0) == (2.0, True)
    assert gap_of([], 1.0, 3.0) is None and gap_of(TRAFFIC, 103.35, 110.0) is None, "nobody asked"


def test_a_question_that_the_next_event_cuts_off_is_no_open_gap() -> None:
    """Traffic that is fine until the next event, whose last questions that event itself has swallowed."""
    asked = [Asked(number / 10, number / 10 + 0.02) for number in range(49)]
    asked += [Asked(4.9, None), Asked(4.99, None)]
    assert gap_of(asked, 1.0, 5.0) == (0.1, False)
    assert gap_of(asked, 1.0, 5.2) == (0.38, True), "but in the end it is missing"


def test_a_gap_that_ended_is_the_longest_even_if_a_shorter_one_is_open() -> None:
    asked = [Asked(1.0, 1.1), Asked(2.0, None), Asked(6.0, 6.1), Asked(7.0, None), Asked(8.0, None)]
    assert gap_of(asked, 1.0, 9.0) == (5.0, False)
    assert gap_of(asked, 1.0, 12.0) == (5.9, True)
    near = [*(Asked(number / 10, number / 10 + 0.02) for number in range(5)), Asked(0.5, 1.52), Asked(1.6, None)]
    assert gap_of(near, 0.0, 2.47) == (1.1, False), "0.95 s are open: fewer than have ended"
    assert gap_of(near, 0.0, 2.67) == (1.15, True)


def test_what_was_under_way_when_it_happened_is_no_recovery() -> None:
    asked = [Asked(100.0, 100.05), Asked(100.2, 100.4), Asked(103.2, 103.3)]
    assert recovery_s(asked, 100.3, 110.0) == pytest.approx(3.0), "the answer at 100.4 was asked for before"
    assert recovery_s(asked, 100.3, 103.0) is None
    assert recovery_s(asked, 104.0, 110.0) is None


def test_the_right_path_is_the_one_from_before_and_not_just_any_answer() -> None:
    asked = [Asked(1, 1.1, "relayed"), Asked(2, 2.1, "either"), Asked(3, 3.1, "direct"), Asked(4, 4.1, "relayed")]
    assert recovery_s(asked, 0.5, 9) == pytest.approx(0.6)
    assert path_recovery_s(asked, "direct", 0.5, 9) == pytest.approx(1.6), "what fits both, right before a certain one"
    assert path_recovery_s(asked, "relayed", 0.5, 9) == pytest.approx(0.6)
    assert path_recovery_s(asked, "direct", 3.5, 9) is None
    assert path_recovery_s(asked, "direct", 0.5, 2.0) is None, "the traffic had ended"


def test_a_path_is_what_the_last_pings_took() -> None:
    direct = [Asked(number / 10, number / 10 + 0.02, "direct") for number in range(20)]
    relayed = [Asked(2 + number / 10, 2.05 + number / 10, "relayed") for number in range(20)]
    silent = [Asked(4 + number / 10, None) for number in range(30)]
    asked = [*direct, *relayed, *silent]
    assert [path_at(asked, 0, end) for end in (2, 2.5, 4, 5, 7)] == ["direct", "mixed", "relayed", "relayed", "none"]
    late = [Asked(1.0, 5.0, "relayed")]
    assert (path_at(late, 0, 2), path_at(late, 0, 6)) == ("none", "relayed"), "answered in the next phase, not in this"
    assert path_at(asked, 7, 9) is None and path_at([Asked(1, 1.1, "")], 0, 2) is None


def happened(do: str, at_s: float, undone: bool = False) -> Performed:
    return Performed(do, "s", at_s, at_s, at_s + 0.002, undone)


def test_the_figures_of_each_event_are_its_own() -> None:
    asked = [Asked(number / 10, number / 10 + 0.02, "direct") for number in range(100) if not 30 <= number < 60]
    asked = sorted([*asked, *(Asked(number / 10, None) for number in range(30, 60))], key=lambda one: one.sent_s)
    tcp = Held((Asked(2.9, 2.92), Asked(3.0, 7.0), Asked(7.01, 7.03), Asked(9.9, 9.93)), None)
    events = (happened("kill", 2.99), happened("kill", 5.99, undone=True), happened("kill", 8.0))
    seen = Continued(0.0, 10.0, tuple(asked), (1.0, 4.0, 9.0), tcp, events, ("reboot ra",))
    folder = Path("/nowhere")
    target = Target(lab=None, src="a", dst="b", mode="mesh", folder=folder)  # type: ignore[arg-type]
    found = {(one.phase, one.metric): one for one in figures_of(target, seen)}
    before, down, up, again = "before kill s", "after kill s", "after the end of kill s", "after kill s #2"
    assert {phase for phase, _ in found if phase} == {before, down, up, again}
    assert [found[phase, "phase_answered_ratio"].value for phase in (before, down, up)] == [1.0, 0.0, 1.0]
    assert [found[phase, "phase_answered_ratio"].path for phase in (before, down, up)] == ["direct", "none", "direct"]
    assert [found[phase, "phase_duplicates"].value for phase in (before, down, up, again)] == [1, 1, 0, 1]
    # Nothing was answered until the server came back: that is no recovery from its death, as it is no end of the gap.
    assert found[down, "event_recovery_s"].value is None and found[down, "event_path_recovery_s"].value is None
    assert found[up, "event_recovery_s"].value == pytest.approx(0.028)
    assert found[up, "event_path_recovery_s"].value == pytest.approx(0.028)
    assert found[down, "event_tcp_recovery_s"].value is None
    assert found[up, "event_tcp_recovery_s"].value == pytest.approx(7.03 - 5.992)
    assert found[None, "tcp_survives"].value == 1.0 and (before, "event_gap_s") not in found
    gaps = {phase: found[phase, "event_gap_s"].value for phase in (down, up, again)}
    # What a server's death began was not over when the server came back: by itself, it would have lasted longer.
    assert gaps == {down: None, up: pytest.approx(0.1), again: pytest.approx(0.1)}
    assert found[None, "continuity_longest_gap_s"].value == pytest.approx(3.1)
    of_trial = [(one.phase, one.metric, one.value, one.outcome) for one in figures_of_trial(seen)]
    assert (up, "event_at_s", 5.992, "ok") in of_trial
    assert ("after reboot ra", "event_at_s", None, "error") in of_trial, "what never happened is said"


def test_an_answer_while_the_end_is_being_done_does_not_end_the_gap_before() -> None:
    # The router's rules are gone at 6.0; that they are is known at 6.3, when the tool has returned.
    asked = tuple(
        Asked(number / 10, None if 30 <= number < 60 else number / 10 + 0.02, "direct") for number in range(100)
    )
    begun, over = Performed("firewall", "ra", 3.0, 2.99, 3.0), Performed("firewall", "ra", 6.0, 5.99, 6.3, True)
    seen = Continued(0.0, 10.0, asked, None, None, (begun, over))
    target = Target(lab=None, src="a", dst="b", mode="mesh", folder=Path("/nowhere"))  # type: ignore[arg-type]
    found = {(one.phase, one.metric): one.value for one in figures_of(target, seen)}
    during, after = "after firewall ra", "after the end of firewall ra"
    assert found[during, "event_gap_s"] is None and found[during, "event_recovery_s"] is None
    assert found[during, "phase_answered_ratio"] == 0 and found[during, "phase_lost"] == 30
    assert found[after, "phase_answered_ratio"] == 1 and found[after, "event_recovery_s"] == pytest.approx(0.02)


def test_streams_are_not_numbered_and_a_silence_before_has_its_first_answer() -> None:
    asked = tuple(Asked(number / 10, number / 10 + 0.02) for number in range(100))
    seen = Continued(0.0, 10.0, asked, None, None, (happened("kill", 5.0),), after_idle=AfterIdle(0.7, 10))
    target = Target(lab=None, src="a", dst="b", mode="mesh", folder=Path("/nowhere"))  # type: ignore[arg-type]
    found = {one.metric: one for one in figures_of(target, seen)}
    assert found["idle_first_answer_s"].value == 0.7
    assert "phase_duplicates" not in found and "tcp_survives" not in found, "nobody can know"
    assert "event_path_recovery_s" not in found and found["event_recovery_s"].value is not None


def test_a_pair_that_is_silent_after_idling_is_censored_and_not_left_out() -> None:
    asked = (Asked(0.0, None), Asked(0.1, None))
    seen = Continued(0.0, 0.0, asked, None, None, (), after_idle=AfterIdle(None, 10))
    target = Target(lab=None, src="a", dst="b", mode="mesh", folder=Path("/nowhere"))  # type: ignore[arg-type]
    (only,) = figures_of(target, seen)
    assert (only.metric, only.value, only.outcome) == ("idle_first_answer_s", None, "failed")
    assert only.error == "a to b: nothing was answered within 10 s after idling"
    assert METRICS["idle_first_answer_s"].estimator == "censored median", "later than all that were answered"


def test_a_ramp_is_even_in_delay_and_loss_and_ends_at_its_target() -> None:
    old = parse_link({"delay_ms": 10, "rate_mbit": 100, "queue_ms": 50})
    new = parse_link({"delay_ms": 110, "rate_mbit": 1, "queue_ms": 50, "loss_percent": 10})
    steps = ramp(old, new, 0.9)
    assert [moment for moment, _ in steps] == pytest.approx([number / 10 for number in range(10)])
    delays = [profile.up.delay_ms for _, profile in steps]
    assert delays == pytest.approx([20 + 10 * number for number in range(10)]) and steps[-1][1] == new
    rates = [profile.down.rate_mbit or 0.0 for _, profile in steps]
    factors = [later / earlier for earlier, later in itertools.pairwise(rates)]
    assert factors == pytest.approx([0.01**0.1] * 9)
    assert parse_link(between(old, new, 0.5)).up.describe() and between(old, new, 0.5).up.loss is not None


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_seed_gives_the_same_times(tmp_path: Path, seed: int) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(SCENARIO + "  - {at_s: [1, 5.5], do: kill, to: s, for_s: [2, 3]}\n")
    first, again = (plan_trials(str(file), seed=seed).trials for _ in range(2))
    assert [(one.id, one.seed, one.timeline) for one in first] == [(one.id, one.seed, one.timeline) for one in again]

    def moments(trial: Any) -> list[tuple[float, bool]]:
        clock, log = Clock(), list[str]()
        quick = Noted(log, clock)
        quick.perform = lambda *_: clock()  # type: ignore[method-assign]
        schedule = Schedule(trial.timeline, {"kill": quick}, None, NOBODY, tmp_path, now=clock)  # type: ignore[arg-type]
        schedule.begin()
        for step in range(1000):
            clock.now = 100.0 + step / 100
            schedule.poll()
        return [(round(one.due_s - 100, 6), one.undone) for one in schedule.happened]

    for trial, other in zip(first, again, strict=True):
        at_s, for_s = trial.timeline[0].at_s[0], trial.timeline[0].for_s[0]
        assert moments(trial) == moments(other) == [(at_s, False), (at_s + for_s, True)]


def test_every_overlay_can_lose_its_server_for_longer_than_keys_live(tmp_path: Path) -> None:
    """WireGuard rejects keys of 180 s; a scenario of any adapter and mode may say so, and watches to the end."""
    used = {
        name: sorted(load_overlay(name).modes)
        for name in overlay_names()
        if name != "underlay" and kinds_of(load_overlay(name)) != {"content"}
    }
    file = tmp_path / "mine.yaml"
    file.write_text(
        "description: d\ntopology: two-sites\n"
        f"overlays: {json.dumps(used)}\n"
        "probes: {continuity: {duration_s: 300}}\n"
        "timeline: [{at_s: 5, do: kill, to: s, for_s: [10, 75, 130, 200]}]\n"
    )
    trials = plan_trials(str(file)).trials
    planned = {(trial.overlay, trial.mode, *trial.timeline[0].for_s) for trial in trials}
    away = [(name, mode) for name, modes in used.items() for mode in modes]
    assert planned == {(*one, for_s) for one in away for for_s in (10.0, 75.0, 130.0, 200.0)}
    bundled = plan_trials("server-dies").trials
    assert {trial.timeline[0].for_s[0] for trial in bundled} == {10.0, 75.0, 130.0, 200.0}
    assert all(trial.probes.continuity.duration_s > 5 + 200 for trial in bundled)
