"""When to wait for an answer awake: asleep, a processor needs longer to come back than the answer takes on a LAN.

A program that sleeps in epoll is woken by an interrupt, and on a virtual machine an idle processor comes back late.
So after a small packet of our host has gone out, the loop asks for up to 0.8 ms whether something has come. It does so
only if answers do come that soon, and never during a transfer, when others need the processor.
"""

from __future__ import annotations

from overlays.refmesh.driver.crowd import Crowd

LIMIT_S = 0.0008
PAUSE_S = 0.008
"""Packets that follow one another faster are a transfer. So at most LIMIT_S / PAUSE_S, a tenth, of a core is spent."""
MAX_MISSES = 10
BESIDE = 32
"""After an answer that was there at once the other end is thought to be on this machine for so many packets."""


class Eagerness:
    """Learns from each try: after n misses in a row, 2^n - 1 packets go by before the next one, up to 1,023.

    It learns two things: whether an answer comes soon, and whether it is there as soon as the packet has been sent. If
    so the other end is on this machine, may need the very processor, and is not waited for awake.
    """

    def __init__(self, crowd: Crowd) -> None:
        """In a `crowd` nothing is waited for awake."""
        self._crowd = crowd
        self.until_s = 0.0
        """Until then waiting is done awake."""
        self._sent_s = 0.0
        self._misses = self._skip = 0
        self.ask = True
        """Whether to look for an answer as soon as the next packet has been sent."""
        self._not_yet = self._unasked = self._beside = 0

    def sent(self, now: float, *, answered: bool | None = None) -> None:
        """Note that a packet has gone out; `answered`: whether it has been answered by now, if that was asked."""
        if answered is not None:
            self._not_yet = 0 if answered else min(self._not_yet + 1, MAX_MISSES)
            self._unasked = (1 << self._not_yet) - 1
        elif self._unasked:
            self._unasked -= 1
        self.ask = not self._unasked
        paused = now - self._sent_s >= PAUSE_S
        self._sent_s = now
        if answered:
            self.ended(answered=True)
            self._beside = BESIDE
        elif not paused or self._beside:
            self.until_s = 0.0
            self._beside = max(0, self._beside - paused)
        elif self._skip:
            self._skip -= 1
        elif not self._crowd.look(now):
            self.until_s = now + LIMIT_S

    def ended(self, *, answered: bool) -> None:
        """Note that waiting awake is over."""
        self.until_s = 0.0
        self._misses = 0 if answered else min(self._misses + 1, MAX_MISSES)
        self._skip = (1 << self._misses) - 1
