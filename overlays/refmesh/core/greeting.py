"""When a HELLO goes to a server, under which number, and when the server is held for lost.

| HELLO | due | answered |
|---|---|---|
| regular | an interval after the last answer; repeated until there is one, sooner at first | yes |
| with news of ours | at once, but some a second | yes |
| quiet: says what of the directory has come | soon after something has | no |

Each has a time of its own. So what crosses an answer to something else is not put off by it, and news that goes out
while an answer is on its way does not count as silence of the server.
"""

from __future__ import annotations

import math
from typing import Any

from overlays.refmesh.core.coordination import HELLO_INTERVAL_S, HELLO_LOST_AFTER, HELLO_RETRY_S
from overlays.refmesh.core.lifetime import Lifetime
from overlays.refmesh.core.pacer import Pacer

ACKNOWLEDGE_AFTER_S = 0.01
PATIENCE = 1.5
"""A HELLO is not repeated before so many round trips."""
NEWS_PER_S, NEWS_BURST = 1.0, 10
"""HELLOs of our own accord: when all begins there are some in a moment, and later a change of the network now and then.
A hostile server that tells us of another address each time must not make us flood the others."""


class Greeting:
    """The HELLOs to one server."""

    def __init__(self, lifetime: Lifetime) -> None:
        self.seq = 0
        """The number of the last HELLO."""
        self.unanswered = 0
        """How often the server has been waited for in vain, and is now."""
        self._first_unanswered = 0
        self._told: list[list[Any]] = []
        self._regular_s = self._news_s = self._quiet_s = math.inf
        self._missed = False
        """Whether something has changed since the HELLO went that is still to make us known."""
        self._lifetime, self._news = lifetime, Pacer(NEWS_PER_S, NEWS_BURST)

    @property
    def due_s(self) -> float:
        """When `said` has something."""
        return min(self._regular_s, self._news_s, self._quiet_s)

    def begin(self, now: float) -> None:
        """Have the server greeted now."""
        self._regular_s = min(self._regular_s, now)

    def reset(self) -> None:
        """Note that the server is lost: nothing is due before it is there again."""
        self._regular_s = self._news_s = self._quiet_s = math.inf
        self.unanswered, self._missed = 0, False

    def news(self, now: float, *, up: bool) -> None:
        """Have the server told of a change of ours; `up`: whether it has answered a HELLO already."""
        if not up:
            self._missed = bool(self.unanswered)  # the HELLO that is under way does not say it
        elif self._news_s == math.inf:
            self._news_s = now if self._news.available(now) else self._news.next_s(now)
            self._news.take()

    def learned(self, now: float) -> None:
        """Have the server told what of the directory has come."""
        self._quiet_s = min(self._quiet_s, now + ACKNOWLEDGE_AFTER_S)

    def answered(self, seq: int, now: float) -> bool:
        """Take the number of an UPDATE; return whether it answers a HELLO."""
        if seq == self.seq:
            self.unanswered, self._regular_s = 0, now + self._interval_s
        elif self.unanswered and self._first_unanswered <= seq < self.seq:
            # The server is there; what has gone out since still waits for its answer.
            self.unanswered, self._first_unanswered = 1, seq + 1
        else:
            return False
        if self._missed:
            self._missed = False
            self.news(now, up=True)
        return True

    def said(self, candidates: list[list[Any]], rtt_s: float, now: float) -> tuple[list[list[Any]], bool] | None:
        """Return the candidates that the HELLO which is due tells of, and whether it is quiet.

        None: no answer has come for so long that the server is lost.
        """
        if now < min(self._regular_s, self._news_s):
            self._quiet_s = math.inf
            if not self.unanswered:
                self._regular_s = now + self._interval_s
            return self._told, True
        waited = now >= self._regular_s
        if waited and self.unanswered >= HELLO_LOST_AFTER:
            return None
        if not self.unanswered or candidates != self._told:
            # A repeated HELLO keeps its number: on a long way the answer to the first comes after the second.
            self.seq += 1
            self._told = candidates
        if not self.unanswered:
            self._first_unanswered = self.seq
        if waited or not self.unanswered:
            retry_s = HELLO_RETRY_S[min(self.unanswered, len(HELLO_RETRY_S) - 1)]
            self._regular_s = now + max(retry_s, PATIENCE * rtt_s)
            self.unanswered += 1
        self._news_s = self._quiet_s = math.inf
        return candidates, False

    @property
    def _interval_s(self) -> float:
        return min(HELLO_INTERVAL_S, self._lifetime.interval_s)
