"""What an engine has to say, in the log: all of it, unless somebody makes it say much; its own faults are errors."""

from __future__ import annotations

import logging
import math

from overlays.refmesh.core.guard import FAULT
from overlays.refmesh.core.pacer import Pacer, Pacers

log = logging.getLogger("refmesh")
LINES_PER_S, LINES_BURST = 20.0, 5000
"""Enough for a network that starts; members that send nonsense all day write some 100 MB a day and no more."""
OF_ONE_PER_S, OF_ONE_BURST = 4.0, 1000
"""Of lines that begin with the same word, which is a member's name where a member has us say it."""
LEFT_OUT_EVERY_S = 10.0


class EventLog:
    """Writes events, and how many it has left out."""

    def __init__(self) -> None:
        self._pacer, self._of = Pacer(LINES_PER_S, LINES_BURST), Pacers(OF_ONE_PER_S, OF_ONE_BURST)
        self._left_out, self._left_out_s = 0, -math.inf

    def write(self, events: list[str], now: float) -> None:
        """Take all events out of the list."""
        if self._left_out and now - self._left_out_s >= LEFT_OUT_EVERY_S:
            log.warning("%d lines were left out here", self._left_out)
            self._left_out, self._left_out_s = 0, now
        for event in events:
            if event.startswith(FAULT):
                log.error("%s", event)  # of which the guard sees to it that there are few
                continue
            of_one = self._of.of(event.partition(" ")[0])
            # Its own share first: what one is refused is for all others.
            if of_one.available(now) < 1 or self._pacer.available(now) < 1:
                self._left_out += 1
                continue
            of_one.take()
            self._pacer.take()
            log.info("%s", event)
        events.clear()
