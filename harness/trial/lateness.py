"""Were the lab's links on time while something was measured? Judged a window of measurement at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

from harness.errors import LabNotAsDeclared
from harness.link.accounting import Accounting
from harness.link.backend import RunningLinks
from harness.trial.messages import ATTEMPTS

# Beside other labs that start their daemons, a helper waits for a processor now and then. The path probe's own clock
# ticks every 50 ms; what it tells apart are seconds and addresses, so a tenth of that is on time for it.
PATH_BOUND_US = 5_000.0

Found = TypeVar("Found")


class LatenessMonitor:
    """The links' account, cut into the windows in which probes ran; outside them lateness harms no figure."""

    def __init__(self, links: RunningLinks | None) -> None:
        self._links = links
        self._violations: list[str] = []
        self.repeated = 0
        """Measurements that were thrown away because of late links and taken anew."""

    def measure(self, take: Callable[[], Found]) -> Found:
        """What `take` finds while the links are as they should be: taken anew up to ATTEMPTS times in all.

        Links alone decide, never the figure. When they were wrong each time, the last figure is kept: see `require`.
        """
        for _ in range(ATTEMPTS - 1):
            before = len(self._violations)
            with self.measured():
                found = take()
            if len(self._violations) == before:
                return found
            del self._violations[before:]
            self.repeated += 1
        with self.measured():
            return take()

    @contextlib.contextmanager
    def measured(self, *, path_only: bool = False) -> Iterator[None]:
        """A window of measurement. What was wrong in it is noted, so that its figures are still kept: see `require`.

        Wrong are frames later than the bound of `harness.link.accounting`, with `path_only` later than PATH_BOUND_US,
        and frames dropped on their way in.
        """
        if self._links is None:
            yield
            return
        before = self._links.accounting()
        yield
        window = self._links.accounting().since(before)
        violation = _late_for_the_path_probe(window) if path_only else window.violation()
        if violation is not None:
            self._violations.append(violation)

    def require(self) -> None:
        """Refuse the trial if a window was not as it should be.

        Raises:
            LabNotAsDeclared: with link and figure of each such window.
        """
        if self._violations:
            raise LabNotAsDeclared("; ".join(self._violations))


def _late_for_the_path_probe(window: Accounting) -> str | None:
    for link, ways in window.counts.items():
        for way, seen in ways.items():
            if seen.ingress_drops:
                return f"link {link} {way}: {seen.ingress_drops} frames dropped before {window.backend} saw them"
            p99_us = seen.lateness_us(0.99)
            if p99_us is not None and p99_us > PATH_BOUND_US and sum(seen.lateness) >= 100:
                return f"link {link} {way}: p99 of {p99_us:.0f} us late while the path was sought"
    return None
