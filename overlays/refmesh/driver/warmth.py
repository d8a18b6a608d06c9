"""Keeps the short way in the processor's caches while packets come and go one at a time.

On a processor that others use as well, another hyperthread, virtual machine or program, 1 ms empties a good part of
the caches and 5 ms all of them: what costs 2 us then costs 20 to 40 us (measured with one AEAD). So while packets
follow one another within 40 ms, as those of a voice, of a game or of questions and answers do, the short way is
rehearsed every 2 ms. It costs 3 to 4 % of a core as long as they do, and nothing otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from overlays.refmesh.driver.crowd import Crowd

EVERY_S = 0.002
WINDOW_S = 0.04
LATE_S = 0.001
"""Woken later than that, others need the processor."""
CLOSE_S, RUN = 0.0001, 8
"""More packets than this, each less than CLOSE_S after the one before, are a transfer."""
CALM_S = 0.5
"""Seconds after a transfer. In one all is warm, and many packets at once are worth more than one of them soon."""


class Warmth:
    """Knows a conversation from a transfer, and says when to rehearse."""

    def __init__(self, rehearse: Callable[[float], bool], crowd: Crowd) -> None:
        """`rehearse(now)` says whether all is done with that; in a `crowd` it is left off."""
        self.until_s = 0.0
        """Until then waiting is interrupted every EVERY_S; 0: it is not."""
        self._rehearse, self._crowd = rehearse, crowd
        self._packet_s = self._transfer_s = -math.inf
        self._run = 0

    def packet(self, now: float) -> bool:
        """Note that a small packet has come or gone; return whether it is no part of a transfer."""
        pause_s = now - self._packet_s
        self._packet_s = now
        if pause_s >= CLOSE_S:
            self._run = 0
        else:
            self._run += 1
            if self._run > RUN:
                self.transfer(now)
        if now - self._transfer_s < CALM_S:
            return False
        if now < self._crowd.until_s:
            return True
        # What comes sooner is the answer, or a part of the same: it alone says nothing of what comes later.
        if pause_s < WINDOW_S and (self.until_s or pause_s >= EVERY_S):
            self.until_s = now + WINDOW_S
        return True

    def transfer(self, now: float) -> None:
        """Note that a large packet has come or gone."""
        self._transfer_s = now
        self.until_s = 0.0

    def idle(self, since_s: float, now: float) -> bool:
        """There was nothing to do for EVERY_S, from `since_s` on. Returns whether there still is nothing."""
        if now >= self.until_s or now - since_s > EVERY_S + LATE_S or self._crowd.look(now):
            self.until_s = 0.0
            return True
        return self._rehearse(now)
