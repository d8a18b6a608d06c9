"""How often a candidate that does not answer is checked. Pure."""

from __future__ import annotations

import math

PLAIN_TRIES = 5
"""Checks of a candidate before other ways are sought; on an idle machine they have gone out after half a second."""
MAX_PATIENCE_S = 2.0
"""No check waits longer than this for the answer to the one before."""
PACE = ((0.15, 0.05), (0.5, 0.1), (3.0, 0.5), (10.0, 1.0), (60.0, 5.0), (math.inf, 30.0))
"""Age of a check in seconds up to which it is repeated every so many seconds; RFC 8445's Ta is 50 ms. A PING that comes
in is answered by a check at once, so the side that is ready later sets the time, not this."""


def pace_at(age_s: float) -> float:
    """Return after how many seconds a check of this age is repeated."""
    return next(pace_s for until_s, pace_s in PACE if age_s < until_s)


def plain_checks_s(rtt_s: float) -> float:
    """Return how long after a session has come up a candidate has had `PLAIN_TRIES` checks, none of them answered."""
    age_s = 0.0
    for _ in range(PLAIN_TRIES - 1):
        age_s += max(min(rtt_s, MAX_PATIENCE_S), pace_at(age_s))
    return age_s
