"""All registered events, found by entry point: one outside this repository is as good as one inside."""

from __future__ import annotations

from functools import cache
from typing import Any

from harness.errors import MissingPrerequisite
from harness.model.extensions import extensions
from harness.timeline.contract import GROUP, ITEM_KEYS, Event


@cache
def events() -> dict[str, Event[Any]]:
    """Return all events by name.

    Raises:
        MissingPrerequisite: a package registers something that is no event, or one whose settings hide an item's keys.
    """
    found = extensions(GROUP, Event)
    for name, event in found.items():
        if hidden := ITEM_KEYS & event.settings.model_fields.keys():
            raise MissingPrerequisite(
                f"event {name}: its settings {', '.join(sorted(hidden))} would hide an item's own", "rename them"
            )
    return found
