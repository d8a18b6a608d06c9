"""Whether the lab's links were on time while something was measured, judged one window of measurement at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar

from harness.errors import LabNotAsDeclared, OverlayError
from harness.link.accounting import Accounting
from harness.link.backend import RunningLinks
from harness.trial.messages import ATTEMPTS

# For what does not mind lateness of milliseconds: whether and when something connects, how large a packet may be.
# While other labs start their daemons, a helper waits for a processor now and then; the finest clock of such a
# probe ticks every 50 ms, and a tenth of that is on time for it.
LOOSE_BOUND_US = 5_000.0

Found = TypeVar("Found")


class LatenessMonitor:
    """The links' account, cut into windows in which something is measured; outside them lateness harms no figure.

    A window that ends in an exception is judged like any other: a failure over late links is not the overlay's.
    """

    def __init__(self, links: RunningLinks | None) -> None:
        self._links = links
        self._violations: list[str] = []
        self.repeated = 0
        """Measurements that were thrown away because of late links and taken again."""

    def measure(self, take: Callable[[], Found], *, loose: bool = False, doing: str = "") -> Found:
        """Return what `take` finds while the links are as they should be, taken again up to ATTEMPTS times in all.

        Links alone decide, never the figure, nor whether there is one. When they were wrong each time, the last figure
        is kept, or the last error raised: see `require`.

        Raises:
            OverlayError: `take` did, over links that were as they should be or for the last time.
        """
        for attempts_left in reversed(range(ATTEMPTS)):
            before = len(self._violations)
            failure: OverlayError | None = None
            try:
                with self.measured(loose=loose, doing=doing):
                    found = take()
            except OverlayError as error:
                failure = error
            if attempts_left and len(self._violations) > before:
                del self._violations[before:]
                self.repeated += 1
                continue
            if failure is not None:
                raise failure
            return found
        raise AssertionError("the last attempt returns or raises")

    @contextlib.contextmanager
    def measured(self, *, loose: bool = False, doing: str = "") -> Iterator[None]:
        """Judge the block as a window of measurement: what was wrong is noted, and its figures are kept (`require`).

        Wrong are frames later than the bound of `harness.link.accounting`, with `loose` later than LOOSE_BOUND_US, and
        frames dropped on their way in.
        """
        if self._links is None:
            yield
            return
        before = self._links.accounting()
        try:
            yield
        finally:
            window = self._links.accounting().since(before)
            violation = _loose_violation(window) if loose else window.violation()
            if violation is not None:
                self._violations.append(f"{violation} while {doing}" if doing else violation)

    def require(self) -> None:
        """Refuse the trial if a window was not as it should be.

        Raises:
            LabNotAsDeclared: with link and figure of each such window.
        """
        if self._violations:
            raise LabNotAsDeclared("; ".join(self._violations))

    def blame(self, failure: Exception) -> NoReturn:
        """Raise `failure`, unless it is the overlay's or the baseline's and a window was not as it should be.

        Raises:
            LabNotAsDeclared: with link and figure of each such window, and what failed over them.
        """
        if self._violations and isinstance(failure, OverlayError | LabNotAsDeclared):
            late = "; ".join(self._violations)
            raise LabNotAsDeclared(f"{late}; what failed over such links shows nothing: {failure}") from failure
        raise failure


def _loose_violation(window: Accounting) -> str | None:
    for link, ways in window.counts.items():
        for way, seen in ways.items():
            if seen.ingress_drops:
                return f"link {link} {way}: {seen.ingress_drops} frames dropped before {window.backend} saw them"
            p99_us = seen.lateness_us(0.99)
            if p99_us is not None and p99_us > LOOSE_BOUND_US and sum(seen.lateness) >= 100:
                return f"link {link} {way}: p99 of {p99_us:.0f} us late"
    return None
