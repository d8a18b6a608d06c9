"""A link whose profile changes: a phone leaves its cell, a line is shared with a neighbour's backup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from harness.model.link import LinkProfile, parse_link
from harness.timeline.cables import cable_of, node_names
from harness.timeline.contract import Event, EventSettings, RunningDaemons, Topology

if TYPE_CHECKING:
    from harness.lab.network import Lab


class LinkChangeSettings(EventSettings):
    """The link of a host, or a router's access link, has another profile; frames under way keep their times."""

    link: Annotated[LinkProfile, BeforeValidator(parse_link, json_schema_input_type=str | dict[str, Any])]


class LinkChange(Event[LinkChangeSettings]):
    """A change of a link's profile, undone by the profile that the topology gave."""

    name = "link_change"
    settings = LinkChangeSettings

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Return the hosts and routers."""
        return node_names(topology)

    def problems(self, topology: Topology, subject: str, settings: LinkChangeSettings) -> list[str]:
        """Return why the link cannot change: a bare cable has no emulator, and traces are read when a run begins."""
        problems = []
        if not topology.attachments()[subject][0].link.impaired:
            problems.append(f"the link of {subject} is `ideal`, a bare cable: give it a profile in the topology")
        if any(direction.files for direction in settings.link.ways):
            problems.append("a link cannot become one that plays a trace")
        return problems

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: LinkChangeSettings) -> None:
        """Give the link the other profile."""
        del overlay
        cable = cable_of(lab, subject)
        assert lab.links is not None  # cable_of says so
        lab.links.change(cable, settings.link)

    def undo(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: LinkChangeSettings) -> None:
        """Give the link its former profile."""
        del overlay, settings
        cable = cable_of(lab, subject)
        assert lab.links is not None
        lab.links.change(cable, lab.topology.attachments()[subject][0].link)
