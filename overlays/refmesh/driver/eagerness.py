"""When to wait for an answer awake: asleep, a processor needs longer to come back than the answer takes on a LAN.

A program that sleeps in epoll is woken by an interrupt, and on a virtual machine an idle processor comes back late.
So after a small packet of our host has gone out, the loop asks for up to 0.8 ms whether something has come. It does so
only if answers do come that soon, and never during a transfer, when others need the processor.
"""

from __future__ import annotations

LIMIT_S = 0.0008
PAUSE_S = 0.008
"""Packets that follow one another faster are a transfer. So at most LIMIT_S / PAUSE_S, a tenth, of a core is spent."""
MAX_MISSES = 10


class Eagerness:
    """Learns from each try: after n misses in a row, 2^n - 1 packets go by before the next one, up to 1,023."""

    def __init__(self) -> None:
        self.until_s = 0.0
        """Until then waiting is done awake."""
        self._sent_s = 0.0
        self._misses = self._skip = 0

    def sent(self, now: float) -> None:
        """A packet has gone out that may be answered."""
        paused = now - self._sent_s >= PAUSE_S
        self._sent_s = now
        if not paused:
            self.until_s = 0.0
        elif self._skip:
            self._skip -= 1
        else:
            self.until_s = now + LIMIT_S

    def ended(self, *, answered: bool) -> None:
        """Waiting awake is over."""
        self.until_s = 0.0
        self._misses = 0 if answered else min(self._misses + 1, MAX_MISSES)
        self._skip = (1 << self._misses) - 1
