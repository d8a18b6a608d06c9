"""The clock that everything in a daemon goes by."""

from __future__ import annotations

import time
from functools import partial

now = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
"""Seconds since the machine started, sleep included: keys grow old while a laptop lies closed, and peers drop theirs.
By CLOCK_MONOTONIC, which stands still then, a node would go on with keys that no peer has any more."""


def unix_offset_s() -> float:
    """Return what to add to `now()` to get Unix time; another value after each step of the wall clock."""
    return time.time() - now()
