"""Events of programs of ours, which tell them in JSON, one a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def events_of(log: str) -> Iterator[dict[str, Any]]:
    """Return the events in a node's log; what is no event (a warning of a library) is passed over."""
    for line in log.splitlines():
        if line.startswith("{"):
            try:
                event = json.loads(line)
            except ValueError:  # the end of the log, just being written
                continue
            yield event
