"""Waiting for all parties of a computation: one that ends before the others are ready keeps them waiting for ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from harness.lab.process import Daemon

_LOOK_S: Final = 0.1
_LOG_S: Final = 1.0
_LONGEST_SAID: Final = 500


def why_not_ready(parties: Mapping[str, Daemon], pattern: str, end_s: float, late: Callable[[str], str]) -> str | None:
    """Wait until the log of each party holds a match of `pattern`; return why one does not, None: all do.

    A party that ends by itself is told at once, whether it was ready or not: the others wait for it.

    Args:
        end_s: until when, on the monotonic clock.
        late: says of a party, by its name, that it was not ready by then.
    """
    left = list(parties)
    while left:
        for name, daemon in parties.items():
            if not daemon.alive:
                return why_ended(name, daemon)
        left_s = end_s - time.monotonic()
        if parties[left[0]].wait_for_line(pattern, max(0.0, min(_LOOK_S, left_s))):
            del left[0]
        elif left_s <= 0:
            return late(left[0])
    return None


def why_ended(name: str, daemon: Daemon) -> str:
    """Say how a party ended, with the last line that it printed."""
    daemon.wait(_LOG_S)  # for the last of its log
    lines = daemon.tail.strip().splitlines()
    return f"{name} ended with status {daemon.status}: {lines[-1].strip()[-_LONGEST_SAID:] if lines else '(silent)'}"
