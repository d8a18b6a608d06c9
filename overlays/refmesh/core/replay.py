"""The replay window: every counter once, and none that is too old (RFC 6479 in spirit)."""

from __future__ import annotations

WINDOW = 8192
"""Counters; WireGuard's own is of this size. Wide, as packets come over relay and direct path at once."""
_MASK = (1 << WINDOW) - 1


class ReplayWindow:
    """Remembers which of the last 8192 counters have been seen.

    The window is one Python integer: bit i stands for `highest - i`. In-order packets, nearly all there are, cost one
    shift; a run of them is shifted once (`accept_run`).
    """

    __slots__ = ("_bits", "_highest")

    def __init__(self) -> None:
        self._highest = -1
        self._bits = 0

    def fresh(self, counter: int) -> bool:
        """Whether `counter` may still be accepted; changes nothing, so it may be asked before authentication."""
        behind = self._highest - counter
        if behind < 0:
            return True
        return behind < WINDOW and not (self._bits >> behind) & 1

    def accept(self, counter: int) -> bool:
        """Marks `counter` as seen and says whether it was fresh; call it after authentication only."""
        return self.accept_run(counter, 1)

    def accept_run(self, first: int, count: int) -> bool:
        """Marks `count` counters from `first` on; False, and nothing marked, when one of them is not fresh."""
        last = first + count - 1
        ahead = last - self._highest
        run = (1 << count) - 1
        if ahead >= count:
            self._bits = run if ahead >= WINDOW else ((self._bits << ahead) | run) & _MASK
            self._highest = last
            return True
        if self._highest - first >= WINDOW:
            return False
        if ahead > 0:
            bits = self._bits << ahead
            if bits & run:
                return False
            self._bits = (bits | run) & _MASK
            self._highest = last
            return True
        shifted = run << -ahead
        if self._bits & shifted:
            return False
        self._bits |= shifted
        return True
