"""Order statistics of samples, in which what was lost took for ever (RFC 2681, RFC 7679). Pure.

RFC 8912's percentiles are over the packets that came; ours are over all that were sent, or else a path would get faster
by losing its slow ones, and a percentile would come and go with a single packet.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Final

# Below so many packets a percentile is the maximum by another name.
FEWEST: Final = {50: 1, 95: 20, 99: 100, 99.9: 1000}


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of an ordered, non-empty sequence."""
    rank = max(1, -(-len(ordered) * share // 100))
    return ordered[int(rank) - 1]


def of_all_sent(delays: Sequence[float | None]) -> list[float]:
    """Return the delays in order; None, which is lost, becomes infinite and comes last."""
    return sorted(math.inf if delay is None else delay for delay in delays)


def percentiles(ordered: Sequence[float], shares: Sequence[float]) -> Iterator[tuple[float, float | None]]:
    """Yield each share and its percentile of an ordered sequence; None: so many were lost that it is infinite.

    The 50th is the median. Those that need more packets than there are are left out.
    """
    for share in shares:
        if len(ordered) >= FEWEST[share]:
            yield share, finite(statistics.median(ordered) if share == 50 else percentile(ordered, share))


def finite(value: float) -> float | None:
    """Return the value, None where it is infinite."""
    return value if math.isfinite(value) else None
