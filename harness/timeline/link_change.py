"""A link whose profile changes: a phone leaves its cell, a line is shared with a neighbour's backup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any
from weakref import WeakKeyDictionary

from pydantic import BeforeValidator, Field

from harness.model.link import LinkProfile, parse_link
from harness.timeline.cables import cable_of, node_names
from harness.timeline.contract import Event, EventSettings, RunningDaemons, Topology
from harness.timeline.layers import Layers
from harness.timeline.ramps import ramp

if TYPE_CHECKING:
    from harness.lab.network import Lab


class LinkChangeSettings(EventSettings):
    """A host's link, or a router's access link, gets another profile; frames under way keep their times.

    With `over_s` the change is gradual, in steps of 0.1 s: delays and losses change by equal amounts, rates by equal
    factors. For steps of your own, write several events.
    """

    link: Annotated[LinkProfile, BeforeValidator(parse_link, json_schema_input_type=str | dict[str, Any])]
    over_s: float = Field(default=0.0, ge=0, le=3600)


class _Step(LinkChangeSettings):
    """A step of a change that takes a while."""


class LinkChange(Event[LinkChangeSettings]):
    """Undone by the former profile, at once."""

    name = "link_change"
    settings = LinkChangeSettings
    replaces = True

    def __init__(self) -> None:
        self._now: WeakKeyDictionary[Lab, dict[str, LinkProfile]] = WeakKeyDictionary()
        self._layers: Layers[LinkProfile] = Layers()

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Return the hosts and routers."""
        return node_names(topology)

    def problems(self, topology: Topology, subject: str, settings: LinkChangeSettings) -> list[str]:
        """Return why the link cannot change: a bare cable has no emulator, and traces are read when a run begins."""
        problems = []
        if topology.mininet is not None:
            problems.append("the links of a Mininet class stay as they are: those of a topology file can change")
        elif not topology.attachments()[subject][0].link.impaired:
            problems.append(f"the link of {subject} is `ideal`, a bare cable: give it a profile in the topology")
        if any(direction.files for direction in settings.link.ways):
            problems.append("a link cannot become one that plays a trace")
        return problems

    def takes_s(self, settings: LinkChangeSettings) -> float:
        """Return `over_s`."""
        return settings.over_s

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: LinkChangeSettings) -> None:
        """Change it, or begin to."""
        del overlay
        first = self._steps(lab, subject, settings)[0][1]
        if not isinstance(settings, _Step):
            self._layers.put(lab, subject, settings, self._present(lab, subject))
        self._change(lab, subject, first)

    def further(
        self, lab: Lab, subject: str, settings: LinkChangeSettings
    ) -> Sequence[tuple[float, LinkChangeSettings]]:
        """Give the other steps of a change that takes a while."""
        steps = self._steps(lab, subject, settings)
        return [(moment, _Step(link=profile)) for moment, profile in steps[1:]]

    def undo(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: LinkChangeSettings) -> None:
        """Give the link its former profile."""
        del overlay
        before = self._layers.take(lab, subject, settings)
        if before is not None:
            self._change(lab, subject, before.state)

    def _present(self, lab: Lab, subject: str) -> LinkProfile:
        return self._now.get(lab, {}).get(subject) or lab.topology.attachments()[subject][0].link

    def _steps(self, lab: Lab, subject: str, settings: LinkChangeSettings) -> list[tuple[float, LinkProfile]]:
        if not settings.over_s:
            return [(0.0, settings.link)]
        return ramp(self._present(lab, subject), settings.link, settings.over_s)

    def _change(self, lab: Lab, subject: str, profile: LinkProfile) -> None:
        cable = cable_of(lab, subject)
        assert lab.links is not None  # cable_of says so
        lab.links.change(cable, profile)
        self._now.setdefault(lab, {})[subject] = profile
