"""Order statistics of samples. Pure."""

from __future__ import annotations

from collections.abc import Sequence

# With fewer samples the 99th percentile is the maximum by another name; the 99.9th with fewer than ten times as many.
FEWEST_FOR_P99 = 100


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest-rank percentile of an ordered, non-empty sequence."""
    rank = max(1, -(-len(ordered) * share // 100))
    return ordered[int(rank) - 1]
