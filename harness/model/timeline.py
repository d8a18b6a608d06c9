"""The events that a timeline may ask for: which there are and what they can be told is said by the events themselves.

They are found by entry point (`harness.extensions`), never by import: a model knows no room.
"""

from __future__ import annotations

from typing import Protocol

from pydantic import BaseModel, ConfigDict

from harness.extensions import extensions
from harness.model.topology import Topology

GROUP = "overlaybench.events"

# What an item of a timeline says of any event: when (`at_s` or `after`), what, to whom, and for how long.
ITEM_KEYS = frozenset({"at_s", "after", "do", "to", "for_s"})


class EventSettings(BaseModel):
    """What an item of a timeline may say of one event beside `ITEM_KEYS`. Units stand in the names."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DeclaredEvent(Protocol):
    """What a model needs of an event; `harness.timeline.contract.Event` is the whole of it."""

    name: str
    settings: type[EventSettings]

    @property
    def can_be_undone(self) -> bool:
        """Whether an item may say `for_s`."""

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """What `to` may name."""

    def problems(self, topology: Topology, subject: str, settings: EventSettings) -> list[str]:
        """Why this cannot be done there."""


def declared_events() -> dict[str, DeclaredEvent]:
    """All events by name."""
    return extensions(GROUP)
