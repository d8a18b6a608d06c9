"""What becomes of a fault of ours that a message has found: it is counted and said, and the message is dropped.

Parsers are strict and raise MalformedMessage, which is no fault; whatever else comes out of handling a message is one.
It must not end a daemon, and tests and fuzzers see to it that there is none.
"""

from __future__ import annotations

import traceback

AGAIN_S = 60.0
"""The same fault is said again after so long."""
MAX_KINDS = 64
FAULT = "a fault of refmesh itself"
"""What the event of a fault begins with."""


class Guard:
    """Counts the faults of one engine; says each kind, by its place in the code, once a minute."""

    def __init__(self, events: list[str]) -> None:
        """`events`: where to say it."""
        self.count = 0
        self._events = events
        self._said_s: dict[str, float] = {}

    def caught(self, error: Exception, now: float) -> None:
        """Take what handling a message, or a timer, has raised."""
        self.count += 1
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} in {place.name}, line {place.lineno} of {place.filename.rpartition('/')[2]}"
        if now - self._said_s.get(kind, -AGAIN_S) < AGAIN_S:
            return
        if len(self._said_s) >= MAX_KINDS:
            self._said_s.clear()
        self._said_s[kind] = now
        self._events.append(f"{FAULT}, number {self.count}: {kind}: {error}; dropped what caused it")
