"""Whether the processors are wanted by others: how long we wait to run after being woken (proc_pid_schedstat(5)).

What a node does to be quick, rehearsing (`warmth.py`) and waiting awake (`eagerness.py`), takes nothing from anybody
while processors are idle. On a machine with more to do than it has processors it makes others late, and is of no use:
who must wait for a processor finds it cold.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

LOOK_S = 0.1
FEWEST = 10
"""Time slices that tell something together; one may have had to wait for anything."""
LONG_S = 0.0001
"""On a machine with room a woken process runs after some 5 us; behind another one it waits for its slice, ms long."""
REST_S = 5.0


class Crowd:
    """Looks at our own run delay now and then."""

    def __init__(self, file: Path = Path("/proc/self/schedstat")) -> None:
        """`file`: time run, time waited (ns), number of time slices. Where there is none, there is never a crowd."""
        self._file = file
        self.until_s = 0.0
        """Until then others go first."""
        self._looked_s = 0.0
        self._waited_ns = self.slices = 0
        self._read()

    def look(self, now: float) -> bool:
        """Whether others go first now. Call it before doing what could be left undone; it looks every 0.1 s at most."""
        if now < self.until_s:
            return True
        if now - self._looked_s >= LOOK_S:
            waited_ns, slices = self._waited_ns, self.slices
            self._read()
            count = self.slices - slices
            # After a rest the average is of what was done meanwhile, and says as much.
            if count >= FEWEST and self._waited_ns - waited_ns > count * LONG_S * 1e9:
                self.until_s = now + REST_S
            if count >= FEWEST or now - self._looked_s >= REST_S:
                self._looked_s = now
            else:
                self._waited_ns, self.slices = waited_ns, slices
        return now < self.until_s

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            _, waited_ns, slices = map(int, self._file.read_text().split())
            self._waited_ns, self.slices = waited_ns, slices
