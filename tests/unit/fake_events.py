"""An event that writes down what is done, a clock that stands until it is told, and the items of a timeline."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from harness.model.timeline import TimelineItem
from harness.timeline.contract import Event, NoSettings


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


NOBODY: Any = SimpleNamespace(daemons={})
