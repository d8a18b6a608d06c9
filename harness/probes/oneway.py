"""One-way delay and its variation, each way, from irtt's samples: all nodes of a lab share one clock. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from itertools import pairwise

from harness.probes.ordered import finite, of_all_sent, percentiles


def oneway_figures(delays_ms: Sequence[float | None]) -> Iterator[tuple[str, float | None]]:
    """Yield metric and value in ms for one direction's delays in the order of sending; None among them: lost.

    The packets are those that were sent this way. A value is None where so many were lost that it is infinite.

    IPDV (RFC 3393) is the median size of the difference between packets sent one after the other, both of which
    arrived. PDV (RFC 5481) is a percentile of the delay above the smallest: the 99th, and RFC 8219's 99.9th.
    """
    arrived = [delay for delay in delays_ms if delay is not None]
    if not arrived:
        return
    ordered = of_all_sent(delays_ms)
    yield "owd_p50_ms", finite(statistics.median(ordered))
    steps = [abs(after - before) for before, after in pairwise(delays_ms) if before is not None and after is not None]
    if steps:
        yield "ipdv_p50_ms", statistics.median(steps)
    for share, value in percentiles(ordered, (99, 99.9)):
        yield f"pdv_p{f'{share:g}'.replace('.', '')}_ms", None if value is None else value - ordered[0]
