"""What an event did to a computation in rounds: how much of it went on, for how long, and what brought it back. Pure.

A round that an event interrupts ends once TCP sends again, which it tries at ever longer intervals (RFC 6298): what of
a recovery is the overlay's and what is TCP's is seen by comparison with pings, which are sent all the time.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from harness.probes.answers import Asked, recovery_s

BIN_S: Final = 1.0
# So long a round has stalled: no schedule and no queue, but a path that is gone.
_STALL_S: Final = 1.0
_STALL_FACTOR: Final = 20.0


@dataclass(frozen=True)
class Fault:
    """When an event took effect (`from_s`) and when its end did (`to_s`), Unix seconds; None: it was never undone.

    `began_s` and `ending_s` are when the two began to be done. What passed while they were being done tells neither of
    the time before nor of the time after.
    """

    began_s: float
    from_s: float
    ending_s: float | None
    to_s: float | None


@dataclass(frozen=True)
class Went:
    """A computation's traffic from `begin_s` to `end_s`, Unix seconds, with the ends of its rounds in their order."""

    begin_s: float
    end_s: float
    finished_s: tuple[float, ...]
    pings: tuple[Sequence[Asked], ...]
    fault: Fault

    @property
    def rate_before(self) -> float:
        """Rounds a second before the event; 0 where none was done."""
        lasted_s = self.fault.began_s - self.begin_s
        return self._done(self.begin_s, self.fault.began_s) / lasted_s if lasted_s > 0 else 0.0

    @property
    def moment_s(self) -> float:
        """From when on a recovery counts: the end of the fault, or the event where it does not end."""
        return self.fault.from_s if self.fault.to_s is None else self.fault.to_s

    def share(self, from_s: float, to_s: float) -> float | None:
        """Return the rounds done between two moments as a share of those at the rate before; None without a rate."""
        expected = self.rate_before * (to_s - from_s)
        return self._done(from_s, to_s) / expected if expected > 0 else None

    def coasted_s(self) -> float | None:
        """Return how long after the event rounds went on until one stalled; None: none did before the end."""
        before = [moment for moment in self.finished_s if moment <= self.fault.from_s]
        usual_s = statistics.median(later - earlier for earlier, later in pairwise(before)) if len(before) > 1 else 0.0
        longest_s = max(_STALL_S, _STALL_FACTOR * usual_s)
        at_s = before[-1] if before else self.begin_s
        for moment in (*(one for one in self.finished_s if one > self.fault.from_s), self.end_s):
            if moment - at_s > longest_s:
                return max(0.0, at_s - self.fault.from_s)
            at_s = moment
        return None

    def rounds_recovery_s(self) -> float | None:
        """Return how long it took to the next round's end; None: there was none any more."""
        later = [moment for moment in self.finished_s if self.moment_s < moment <= self.end_s]
        return min(later) - self.moment_s if later else None

    def overlay_recovery_s(self) -> float | None:
        """Return how long it took until a ping was answered on every pair; None: on one it never was."""
        found = [recovery_s(asked, self.moment_s, self.end_s) for asked in self.pings]
        return None if None in found else max((one for one in found if one is not None), default=None)

    def shares(self) -> list[tuple[float, float]]:
        """Return seconds since the event, in steps, and each step's rounds as a share of those at the rate before."""
        steps = range(int((self.begin_s - self.fault.from_s) / BIN_S), int((self.end_s - self.fault.from_s) / BIN_S))
        starts = [(step * BIN_S, self.fault.from_s + step * BIN_S) for step in steps]
        return [(since, share) for since, at_s in starts if (share := self.share(at_s, at_s + BIN_S)) is not None]

    def _done(self, from_s: float, to_s: float) -> int:
        return sum(from_s < moment <= to_s for moment in self.finished_s)


def shares_text(shares: Sequence[tuple[float, float]]) -> str:
    """Return the shares as CSV, the evidence that is kept and drawn."""
    return "\n".join(["since_s,share", *(f"{since:.3f},{share:.6f}" for since, share in shares)]) + "\n"
