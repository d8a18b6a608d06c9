"""A scenario's timeline: what it sweeps, what it is in one cell, and what cannot be done there. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.errors import OverlaybenchError, Problem
from harness.model.document import did_you_mean
from harness.model.probes import declared_probes
from harness.model.scenario import Scenario
from harness.model.timeline import DeclaredEvent, TimelineItem, declared_events
from harness.model.topology import Topology
from harness.model.trial import Trial
from harness.overlay.contract import Overlay
from harness.overlay.support import why_unsupported
from harness.scenario.loaded import LoadedScenario
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


def problems_of(loaded: LoadedScenario, topology: Topology) -> Iterator[Problem]:
    """Yield everything of a timeline that cannot be done in a topology, at its line."""
    events = declared_events()
    yield from _traffic_problems(loaded)
    for number, item in enumerate(loaded.scenario.timeline):
        event, where = events[item.do], ("timeline", number)
        subjects = event.subjects(topology)
        if item.to not in subjects:
            hint = did_you_mean(item.to, subjects) or f" (there are {', '.join(subjects) or 'none'})"
            yield loaded.document.problem((*where, "to"), f"{item.do} cannot be done to {item.to}{hint}")
            continue
        settings = event.settings.model_validate(item.settings)
        for text in event.problems(topology, item.to, settings):
            yield loaded.document.problem(where, f"{item.do}: {text}")


def unmet(loaded: LoadedScenario, trials: Sequence[Trial], overlays: Mapping[str, Overlay]) -> Iterator[Problem]:
    """Yield what an overlay's deployment lacks for a timeline, at its line; once for each overlay and mode.

    Only where an item has settings of its own is anything rendered: what says nothing can miss nothing.
    """
    events = declared_events()
    asking = [(number, item) for number, item in enumerate(loaded.scenario.timeline) if item.settings]
    asking = [(number, item) for number, item in asking if _asks_deployments(events[item.do])]
    of_each = {(trial.overlay, trial.mode): trial for trial in trials} if asking else {}
    for (name, mode), trial in of_each.items():
        if why_unsupported(trial, overlays[name]) is not None:
            continue
        try:
            deployment = overlays[name].render(trial)
        except (ValueError, OverlaybenchError):
            continue  # told as the trial's own outcome
        for number, item in asking:
            event = events[item.do]
            for text in event.unmet(deployment, item.to, event.settings.model_validate(item.settings)):
                yield loaded.document.problem(("timeline", number), f"{item.do}: {name} {mode}: {text}")


def _asks_deployments(event: DeclaredEvent) -> bool:
    """Tell whether an event looks at deployments at all: most do not."""
    own: object = type(event).unmet
    return own is not Event.unmet


def _traffic_problems(loaded: LoadedScenario) -> Iterator[Problem]:
    """Yield what is wrong with whose traffic is the timeline's zero: none shows nothing, and two are two zeros."""
    driving = [name for name, settings in loaded.scenario.probes.items() if settings.drives_timeline]
    if loaded.scenario.timeline and not driving:
        known = " or ".join(f"`{name}`" for name, one in declared_probes().items() if one.settings.drives_timeline)
        text = f"a timeline needs the probe {known}: its traffic is time zero, and shows what events do"
        yield loaded.document.problem(("timeline",), text)
    for name, settings in loaded.scenario.probes.items():
        if settings.needs_timeline and not loaded.scenario.timeline:
            text = f"{name} shows what events do: there is no `timeline`"
            yield loaded.document.problem(("probes", name), text)
    if loaded.scenario.timeline and len(driving) > 1:
        text = f"{' and '.join(driving)} each begin the timeline: ask for one of them"
        yield loaded.document.problem(("probes", driving[-1]), text)


def _axis(scenario: Scenario, number: int, key: str) -> str:
    item = scenario.timeline[number]
    same = [place for place, other in enumerate(scenario.timeline) if other.do == item.do]
    return f"{item.do}{'' if len(same) == 1 else same.index(number) + 1}_{key}"
