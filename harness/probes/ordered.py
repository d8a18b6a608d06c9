"""Order statistics of samples. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest-rank percentile of an ordered, non-empty sequence."""
    rank = max(1, -(-len(ordered) * share // 100))
    return ordered[int(rank) - 1]
