"""The events that a timeline may ask for; which there are and what they can be told is declared by the events.

They are found by entry point (`harness.model.extensions`), never by import: a model knows no room.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from harness.model.document import did_you_mean
from harness.model.extensions import extensions
from harness.model.topology import Topology

GROUP = "overlaybench.events"

# What an item of a timeline says of any event: when (`at_s` or `after`), what, to whom, and for how long.
ITEM_KEYS = frozenset({"at_s", "after", "do", "to", "for_s"})


class EventSettings(BaseModel):
    """What an item of a timeline may say of one event besides `ITEM_KEYS`. Units stand in the names."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DeclaredEvent(Protocol):
    """What a model needs of an event; `harness.timeline.contract.Event` is the whole of it."""

    name: str
    settings: type[EventSettings]

    @property
    def can_be_undone(self) -> bool:
        """Whether an item may say `for_s`."""

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Return what `to` may name."""

    def problems(self, topology: Topology, subject: str, settings: EventSettings) -> list[str]:
        """Return why this cannot be done there."""

    def unmet(self, deployment: Any, subject: str, settings: EventSettings) -> list[str]:
        """Why this cannot be done to an overlay that is deployed so."""

    def unmet_by_all(self, deployments: Sequence[Any], subject: str, settings: EventSettings) -> list[str]:
        """Why a part of this would happen to no overlay of a scenario."""


def declared_events() -> dict[str, DeclaredEvent]:
    """Return all events by name."""
    return extensions(GROUP)


# The moments of a trial that an event may follow: all daemons are ready, all pairs connect (or have failed to), the
# traffic of the continuity probe has begun, the last pings of all pairs went and came back directly while it flows.
Moment = Literal["ready", "connected", "traffic", "direct"]


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value


Seconds = Annotated[float, Field(ge=0, le=3600)]
Swept = Annotated[tuple[Seconds, ...], BeforeValidator(_as_tuple, json_schema_input_type=Seconds | tuple[Seconds, ...])]


def _with_settings(schema: dict[str, Any]) -> None:
    """Let an item say what its event can be told, which is checked by the event and not by the schema."""
    schema["properties"].pop("settings", None)
    schema["properties"]["do"] = {"enum": list(declared_events()), "type": "string"}
    schema["additionalProperties"] = True


class TimelineItem(BaseModel):
    """One event of a timeline: `do` it `to` a node, `at_s` seconds after the traffic began or `after` a moment.

    After `for_s` seconds the event is undone. A list of seconds is swept. All other keys are the event's own settings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_with_settings)

    at_s: Swept | None = None
    after: Moment | None = None
    do: str
    to: str
    for_s: Swept | None = None
    settings: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _gather_settings(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "settings" in data:
            return data
        own = {key: value for key, value in data.items() if key in ITEM_KEYS}
        return {**own, "settings": {key: value for key, value in data.items() if key not in ITEM_KEYS}}

    @model_validator(mode="after")
    def _holds_together(self) -> TimelineItem:
        if (self.at_s is None) == (self.after is None):
            raise ValueError("give `at_s` or `after`, one of the two")
        if self.at_s == () or self.for_s == ():
            raise ValueError("an empty list sweeps nothing")
        for key, swept in (("at_s", self.at_s or ()), ("for_s", self.for_s or ())):
            twice = next((value for place, value in enumerate(swept) if value in swept[:place]), None)
            if twice is not None:
                raise ValueError(f"`{key}` has {twice:g} twice: these would be the same trials")
        events = declared_events()
        if self.do not in events:
            raise ValueError(f"unknown event {self.do}{did_you_mean(self.do, events)}")
        event = events[self.do]
        if self.for_s is not None and not event.can_be_undone:
            raise ValueError(f"{self.do} cannot be undone: `for_s` has no meaning")
        if self.for_s is not None and 0 in self.for_s:
            raise ValueError("`for_s` must be greater than 0")
        try:
            event.settings.model_validate(self.settings)
        except ValidationError as error:
            wrong = (
                f"unknown key {part['loc'][0]}{did_you_mean(str(part['loc'][0]), event.settings.model_fields)}"
                if part["type"] == "extra_forbidden"
                else f"{'.'.join(map(str, part['loc']))}: {part['msg']}"
                for part in error.errors()
            )
            raise ValueError(f"{self.do}: {'; '.join(wrong)}") from None
        return self
