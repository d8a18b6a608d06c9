"""The replay window: every counter once, and none that is too old (RFC 6479 in spirit)."""

from __future__ import annotations

WINDOW = 8192
"""Counters; WireGuard's own is of this size. Wide, as packets come over relay and direct path at once."""
_MASK = (1 << WINDOW) - 1


class ReplayWindow:
    """Remembers which of the last 8192 counters have been seen.

    Up to `_base` the window is one Python integer: bit i stands for `_base - i`. From there to `highest` all have been
    seen, so what comes in order, as nearly everything does, moves a number and no more: whoever has authenticated the
    counter `highest + 1` may set `highest` to it himself.
    """

    __slots__ = ("_base", "_bits", "highest")

    def __init__(self) -> None:
        self._base = self.highest = -1
        self._bits = 0

    def fresh(self, counter: int) -> bool:
        """Whether `counter` may still be accepted; changes nothing, so it may be asked before authentication."""
        if counter > self.highest:
            return True
        if counter > self._base or self.highest - counter >= WINDOW:
            return False
        return not (self._bits >> (self._base - counter)) & 1

    def accept(self, counter: int) -> bool:
        """Mark `counter` as seen and say whether it was fresh; call it after authentication only."""
        if counter == self.highest + 1:
            self.highest = counter
            return True
        return self.accept_run(counter, 1)

    def accept_run(self, first: int, count: int) -> bool:
        """Mark `count` counters from `first` on; False, and nothing marked, when one of them is not fresh."""
        last = first + count - 1
        if first == self.highest + 1:
            self.highest = last
            return True
        if self.highest - first >= WINDOW:
            return False
        self._fold()
        ahead = last - self.highest
        bits = 0 if ahead >= WINDOW else self._bits << max(0, ahead)
        marks = ((1 << count) - 1) << max(0, -ahead)
        if bits & marks:
            return False
        self._bits = (bits | marks) & _MASK
        self._base = self.highest = max(self.highest, last)
        return True

    def _fold(self) -> None:
        """Write the counters since `_base` down as bits."""
        ahead = self.highest - self._base
        if ahead:
            self._bits = _MASK if ahead >= WINDOW else (self._bits << ahead | ((1 << ahead) - 1)) & _MASK
            self._base = self.highest
