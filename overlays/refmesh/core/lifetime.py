"""How long our NAT keeps an idle mapping, learned from paths that lived and paths that died.

RFC 4787 REQ-5 asks for 2 minutes at least, real equipment goes down to some ten seconds. A NAT is the node's and not
a peer's, so all paths of a node learn together: an idle path that dies halves the interval and caps it for good; four
that live in a row lengthen it by half, up to the cap. A path whose first check after the pause fails and whose next one
works has been punched again (or a datagram was lost): two of those among six are no chance any more.
"""

from __future__ import annotations

import math
from collections import deque

START_S = 15.0
MIN_S = 4.0
MAX_S = 55.0
GROW_AFTER = 4
MEMORY = 6
STUMBLES = 2


class Lifetime:
    """The interval of keepalives in seconds."""

    def __init__(self) -> None:
        self.interval_s = START_S
        self._cap_s = math.inf
        self._recent: deque[bool] = deque(maxlen=MEMORY)

    def lived(self) -> None:
        """Note that a path was idle for an interval and then worked."""
        self._recent.append(True)
        longer_s = min(MAX_S, self.interval_s * 1.5)
        # A fifth below what has failed: the failed interval itself may have been just too long, or well so.
        if len(self._recent) >= GROW_AFTER and all(self._recent) and longer_s < 0.8 * self._cap_s:
            self.interval_s = longer_s
            self._recent.clear()

    def stumbled(self) -> None:
        """Note that a path was idle for an interval and worked at the second try only."""
        self._recent.append(False)
        if self._recent.count(False) >= STUMBLES:
            self.died()

    def died(self) -> None:
        """Note that a path was idle for an interval and then did not work."""
        self._cap_s = min(self._cap_s, self.interval_s)
        self.interval_s = max(MIN_S, self.interval_s / 2)
        self._recent.clear()
