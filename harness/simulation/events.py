"""One heap of events and a clock that jumps from one to the next. No I/O."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Events:
    """What is to happen, in order of time and, at one time, of asking."""

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds since the beginning of the world."""
        self.happened = 0
        """How many events there have been."""
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, at: float, action: Callable[[], None]) -> None:
        """Do it then; what is past is done next."""
        heapq.heappush(self._queue, (at, next(self._order), action))

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; ends early, and says True, when `until` holds."""
        return self.run_to(self.now + seconds, until)

    def run_to(self, end: float, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass to this moment, with all that is to happen then."""
        queue, pop = self._queue, heapq.heappop
        while True:
            if until is not None and until():
                return True
            if not queue or queue[0][0] > end:
                self.now = end
                return until is not None and until()
            at, _, action = pop(queue)
            self.now = max(self.now, at)
            self.happened += 1
            action()
