"""Several pieces of work side by side, as many as processors and memory allow."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path

_LEFT_ALONE_MIB = 512


class MemoryBudget:
    """Memory that is lent out; a request for more than there is waits for the others, and then runs alone."""

    def __init__(self, total_mib: int) -> None:
        self._total, self._lent = total_mib, 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def lend(self, mib: int) -> Iterator[None]:
        """Wait for `mib` MiB, and hold them until the block ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._lent == 0 or self._lent + mib <= self._total)
            self._lent += mib
        try:
            yield
        finally:
            with self._changed:
                self._lent -= mib
                self._changed.notify_all()


def available_mib() -> int:
    """Return the MiB available without swapping (MemAvailable, proc_meminfo(5)), less a reserve for others."""
    found = re.search(r"^MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return max(0, int(found.group(1)) // 1024 - _LEFT_ALONE_MIB) if found else 0
