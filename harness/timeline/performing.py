"""Performing an event and measuring when it took effect, which is later than the planned moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.timeline.contract import Event, EventSettings, RunningDaemons

if TYPE_CHECKING:
    from harness.lab.network import Lab


@dataclass(frozen=True)
class Performed:
    """An event that has happened, or (`undone`) one that is over. All times are Unix seconds.

    `due_s` is when it should have begun, `began_s` when it did, `effective_s` when the lab or the overlay had it.
    """

    do: str
    to: str
    due_s: float
    began_s: float
    effective_s: float
    undone: bool = False


def perform(
    event: Event[Any],
    lab: Lab,
    overlay: RunningDaemons,
    subject: str,
    settings: EventSettings,
    *,
    due_s: float,
    undo: bool = False,
    now: Callable[[], float] = time.time,
) -> Performed:
    """Perform the event, or undo it, at once; the caller waits until it is due.

    Raises:
        LabError: the kernel or a tool refused.
    """
    began_s = now()
    act = event.undo if undo else event.perform
    effective_s = act(lab, overlay, subject, settings)
    return Performed(event.name, subject, due_s, began_s, now() if effective_s is None else effective_s, undo)
