"""A scenario's timeline: what it sweeps, what it is in one cell, and what cannot be done there. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.errors import Problem
from harness.model.document import did_you_mean
from harness.model.scenario import Scenario
from harness.model.timeline import TimelineItem, declared_events
from harness.model.topology import Topology
from harness.scenario.loaded import LoadedScenario

# The probe whose traffic is time zero, and which shows what an event did.
CONTINUITY = "continuity"


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
    if loaded.scenario.timeline and CONTINUITY not in dict(loaded.scenario.probes.items()):
        text = f"a timeline needs the probe `{CONTINUITY}`: its traffic is time zero, and shows what events do"
        yield loaded.document.problem(("timeline",), text)
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


def _axis(scenario: Scenario, number: int, key: str) -> str:
    item = scenario.timeline[number]
    same = [place for place, other in enumerate(scenario.timeline) if other.do == item.do]
    return f"{item.do}{'' if len(same) == 1 else same.index(number) + 1}_{key}"
