"""One-way delay and its variation, each way, from irtt's samples: all nodes of a lab share one clock. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from itertools import pairwise

from harness.probes.ordered import FEWEST_FOR_P99, percentile


def oneway_figures(delays_ms: Sequence[float | None]) -> Iterator[tuple[str, float]]:
    """Metric and value in ms for one direction's delays in the order of sending; None: lost, or not stamped.

    IPDV (RFC 3393) is the median size of the difference between packets sent one after the other, both of which
    arrived; PDV (RFC 5481, RFC 8219) is the 99th percentile above the smallest delay.
    """
    known = sorted(delay for delay in delays_ms if delay is not None)
    if not known:
        return
    yield "owd_p50_ms", statistics.median(known)
    steps = [abs(after - before) for before, after in pairwise(delays_ms) if before is not None and after is not None]
    if steps:
        yield "ipdv_p50_ms", statistics.median(steps)
    if len(known) >= FEWEST_FOR_P99:
        yield "pdv_p99_ms", percentile(known, 99) - known[0]
