"""A scenario's timeline: what it sweeps, what it is in one cell, and what cannot be done there. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.errors import OverlaybenchError, Problem
from harness.model.document import did_you_mean
from harness.model.probes import declared_probes
from harness.model.scenario import Scenario
from harness.model.timeline import DeclaredEvent, TimelineItem, declared_events
from harness.model.topology import Topology
from harness.model.trial import Trial
from harness.model.words import SEEKING_DIRECT
from harness.overlay.contract import Overlay
from harness.overlay.support import why_unsupported
from harness.scenario.loaded import LoadedScenario
from harness.scenario.timeline_order import Placed, broken, conflicts, placed, too_early, topologies_at
from harness.timeline.contract import Event


def swept(scenario: Scenario) -> dict[str, tuple[float, ...]]:
    """Return the axes that a timeline sweeps: `kill_at_s` say, with a number where an event stands more than once."""
    axes: dict[str, tuple[float, ...]] = {}
    for number, item in enumerate(scenario.timeline):
        for key, values in (("at_s", item.at_s), ("for_s", item.for_s)):
            if values is not None and len(values) > 1:
                axes[_axis(scenario, number, key)] = values
    return axes


def timeline_of(scenario: Scenario, cell: Mapping[str, Any]) -> tuple[TimelineItem, ...]:
    """Return the timeline of one cell, in which nothing is swept any more."""
    items = []
    for number, item in enumerate(scenario.timeline):
        chosen = {key: (cell[axis],) for key in ("at_s", "for_s") if (axis := _axis(scenario, number, key)) in cell}
        items.append(item.model_copy(update=chosen))
    return tuple(items)


def problems_of(loaded: LoadedScenario, cell: Mapping[str, Any], topology: Topology) -> Iterator[Problem]:
    """Yield everything of a cell's timeline that cannot be done in its topology, at its line."""
    yield from _traffic_problems(loaded)
    yield from _moment_problems(loaded)
    items = placed(timeline_of(loaded.scenario, cell))
    for one in items:
        where = ("timeline", one.number)
        for key, text in _beyond_the_traffic(loaded.scenario, one):
            yield loaded.document.problem((*where, key) if key else where, f"{one.item.do}: {text}")
        # Where it is not known what will have happened before, one way that works is enough.
        found = min((_problems_in(now, one) for now in topologies_at(topology, items, one)), key=len)
        for key, text in found:
            yield loaded.document.problem((*where, key) if key else where, text)
    for one, text in (*conflicts(items), *too_early(items), *broken(topology, items)):
        key = "after" if one.item.at_s is None else "at_s"
        yield loaded.document.problem(("timeline", one.number, key), f"{one.item.do}: {text}")


def _problems_in(topology: Topology, one: Placed) -> list[tuple[str, str]]:
    """Say why an item cannot be done in a topology, each with the field that it is about ("": the whole item)."""
    do, to, subjects = one.item.do, one.item.to, one.event.subjects(topology)
    if to not in subjects:
        hint = did_you_mean(to, subjects) or f" (there are {', '.join(subjects) or 'none'})"
        return [("to", f"{do} cannot be done to {to}{hint}")]
    return [("", f"{do}: {text}") for text in one.event.problems(topology, to, one.settings)]


def _beyond_the_traffic(scenario: Scenario, one: Placed) -> Iterator[tuple[str, str]]:
    """Yield what of an item would never come, or not in time, each with its field."""
    takes_s, item = one.event.takes_s(one.settings), one.item
    if one.clock == 0:
        why = f"after `{item.after}` the timing is not exact: use `at_s` or `after: traffic`"
        if item.for_s is not None:
            yield "for_s", f"its end would be late; {why}"
        if takes_s:
            yield "", f"it takes {takes_s:g} s and would be late; {why}"
        return
    ends_s = min((one.traffic_s() for one in scenario.probes.named() if one.drives_timeline), default=math.inf)
    until = f"the traffic ends after {ends_s:g} s"
    if one.begin_s >= ends_s:
        yield "at_s", f"at {one.begin_s:g} s it would never happen: {until}"
    elif item.for_s is not None and one.end_s >= ends_s:
        text = f"its end at {one.end_s:g} s would never happen: {until}; to leave it without an end, omit `for_s`"
        yield "for_s", text
    elif one.begin_s + takes_s >= ends_s:
        yield "", f"it would not be complete before {one.begin_s + takes_s:g} s: {until}"


def _moment_problems(loaded: LoadedScenario) -> Iterator[Problem]:
    """Yield the items whose moment no probe tells, or no overlay comes to."""
    scenario, known = loaded.scenario, declared_probes()
    asked = dict(scenario.probes.items())
    for number, item in enumerate(scenario.timeline):
        text = ""
        if item.after == "connected" and not any(known[name].tells_connected for name in asked):
            tell = [name for name, probe in known.items() if probe.tells_connected]
            text = (
                f"the moment at which all are connected is found by the probe {' or '.join(tell)}, which the "
                "scenario lacks"
            )
        elif item.after == "direct" and not any(one.tells_direct for one in asked.values()):
            tell = [name for name, probe in known.items() if probe.settings.tells_direct]
            text = (
                f"the moment at which traffic is direct is found by the probe {' or '.join(tell)}, which the "
                "scenario lacks"
            )
        elif item.after == "direct" and not any(
            mode in (*SEEKING_DIRECT, "underlay") for use in scenario.overlays.values() for mode in use.modes
        ):
            text = "no overlay here looks for a direct path, so that it would never happen"
        if text:
            yield loaded.document.problem(("timeline", number, "after"), text)
    if scenario.timeline and all(item.after in {"ready", "connected"} for item in scenario.timeline):
        for name in (name for name, settings in asked.items() if settings.needs_timeline):
            text = f"{name} measures the first event after its traffic begins, but here all events come before that"
            yield loaded.document.problem(("probes", name), text)


def unmet(loaded: LoadedScenario, trials: Sequence[Trial], overlays: Mapping[str, Overlay]) -> Iterator[Problem]:
    """Yield what an overlay's deployment lacks for a timeline, at its line; once for each overlay and mode.

    Then what all of them lack, where none lacks everything. Only where an item has settings of its own is anything
    rendered: what says nothing can miss nothing.
    """
    events = declared_events()
    asking = [(number, item) for number, item in enumerate(loaded.scenario.timeline) if item.settings]
    asking = [(number, item) for number, item in asking if _asks_deployments(events[item.do])]
    rendered: list[Any] = []
    whole, lacking = True, set[int]()
    of_each = {(trial.overlay, trial.mode): trial for trial in trials} if asking else {}
    for (name, mode), trial in of_each.items():
        if why_unsupported(trial, overlays[name]) is not None:
            continue
        try:
            deployment = overlays[name].render(trial)
        except (ValueError, OverlaybenchError):
            whole = False
            continue  # told as the trial's own outcome
        rendered.append(deployment)
        for number, item in asking:
            event = events[item.do]
            for text in event.unmet(deployment, item.to, event.settings.model_validate(item.settings)):
                lacking.add(number)
                yield loaded.document.problem(("timeline", number), f"{item.do}: {name} {mode}: {text}")
    for number, item in asking if whole else ():
        event = events[item.do]
        for text in event.unmet_by_all(rendered, item.to, event.settings.model_validate(item.settings)):
            if number not in lacking:
                yield loaded.document.problem(("timeline", number), f"{item.do}: {text}")


def _asks_deployments(event: DeclaredEvent) -> bool:
    """Tell whether an event looks at deployments at all: most do not."""
    own: object = type(event).unmet
    return own is not Event.unmet


def _traffic_problems(loaded: LoadedScenario) -> Iterator[Problem]:
    """Yield what is wrong with whose traffic is the timeline's zero: none shows nothing, and two are two zeros."""
    driving = [name for name, settings in loaded.scenario.probes.items() if settings.drives_timeline]
    if loaded.scenario.timeline and not driving:
        known = " or ".join(f"`{name}`" for name, one in declared_probes().items() if one.settings.drives_timeline)
        text = f"a timeline needs the probe {known}, whose traffic sets time zero and shows the effect of events"
        yield loaded.document.problem(("timeline",), text)
    for name, settings in loaded.scenario.probes.items():
        if settings.needs_timeline and not loaded.scenario.timeline:
            text = f"{name} measures the effect of events, but there is no `timeline`"
            yield loaded.document.problem(("probes", name), text)
    if loaded.scenario.timeline and len(driving) > 1:
        text = f"{' and '.join(driving)} each set the timeline's zero: use only one of them"
        yield loaded.document.problem(("probes", driving[-1]), text)


def _axis(scenario: Scenario, number: int, key: str) -> str:
    item = scenario.timeline[number]
    same = [place for place, other in enumerate(scenario.timeline) if other.do == item.do]
    return f"{item.do}{'' if len(same) == 1 else same.index(number) + 1}_{key}"
