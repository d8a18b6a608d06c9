"""What an engine has to say, in the log: all of it, unless somebody makes it say much."""

from __future__ import annotations

import logging

from overlays.refmesh.core.pacer import Pacer

log = logging.getLogger("refmesh")
LINES_PER_S, LINES_BURST = 20.0, 5000
"""Enough for a network that starts; a member that sends nonsense all day writes some 100 MB a day and no more."""


class EventLog:
    """Writes events, and how many it has left out."""

    def __init__(self) -> None:
        self._pacer = Pacer(LINES_PER_S, LINES_BURST)
        self._left_out = 0

    def write(self, events: list[str], now: float) -> None:
        """Take all events out of the list."""
        room = self._pacer.available(now)
        if self._left_out and room:
            log.warning("%d lines were left out here", self._left_out)
            self._left_out = 0
        for event in events[:room]:
            log.info("%s", event)
        self._pacer.take(min(room, len(events)))
        self._left_out += max(0, len(events) - room)
        events.clear()
