"""Round trips, one-way delays and losses from their samples, by the definitions in results/README.md alone (numpy)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tests.recompute.evidence import Key, Run


def nearest_rank(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(share * len(ordered) - 1e-9)) - 1]


def latency(run: Run, stem: str, below: str, src: str, dst: str) -> dict[Key, Any]:
    """Return the figures of a pair that nothing else was sent to meanwhile, and those of the paths below."""
    rows, irtt = run.samples(f"{stem}-rtt.csv"), run.json(f"{stem}-irtt.json")
    if not rows:
        return {}
    rtts = _of_all_sent(rows)
    answered = [rtt for rtt in rtts if math.isfinite(rtt)]
    found: dict[Key, Any] = {
        ("loss_ratio", src, dst): 1 - len(answered) / len(rtts),
        ("rtt_p50_ms", src, dst): _median(rtts),
        ("rtt_max_ms", src, dst): max(rtts),
    }
    if answered:
        found["rtt_min_ms", src, dst] = min(answered)
    found |= {(f"rtt_{name}_ms", src, dst): value for name, value in _percentiles(rtts)}
    found |= _lost_each_way(irtt, src, dst)
    under = run.samples(f"{below}-rtt.csv")
    if under:
        base = _median(_of_all_sent(under))
        found["underlay_rtt_p50_ms", src, dst] = base
        if math.isfinite(base):
            found["added_rtt_p50_ms", src, dst] = _median(rtts) - base
    lost = {trip["seqno"]: trip["lost"] for trip in (irtt or {}).get("round_trips") or ()}
    if irtt or len(answered) == len(rtts):
        # What is known to have been lost on the other way is no packet of this one; anything else took for ever.
        for one, other, column, elsewhere in (
            (src, dst, "there_ms", "true_down"),
            (dst, src, "back_ms", "true_up"),
        ):
            kept = [row for row in rows if lost.get(int(row["seq"] or 0)) != elsewhere]
            found |= _one_way([row.get(column) for row in kept], one, other)
    return found


def _of_all_sent(rows: Sequence[Mapping[str, float | None]]) -> list[float]:
    """Round trips; a packet that never came back is later than all others (RFC 2681)."""
    return [math.inf if row["rtt_ms"] is None else row["rtt_ms"] for row in rows]


def _percentiles(values: Sequence[float]) -> Iterator[tuple[str, float]]:
    for name, share, fewest in (("p95", 0.95, 20), ("p99", 0.99, 100), ("p999", 0.999, 1000)):
        if len(values) >= fewest:
            yield name, nearest_rank(values, share)


def _lost_each_way(irtt: Any, src: str, dst: str) -> dict[Key, Any]:
    """Share lost on each way, of what set out on it; only where irtt knows the way of every lost packet."""
    lost = Counter(trip["lost"] for trip in (irtt or {}).get("round_trips") or ())
    sent, there, back = lost.total(), lost["true_up"], lost["true_down"]
    if not sent or lost["true"]:
        return {}
    found: dict[Key, Any] = {("oneway_loss_ratio", src, dst): there / sent}
    return found | ({("oneway_loss_ratio", dst, src): back / (sent - there)} if sent > there else {})


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return high if math.isinf(high) else (low + high) / 2


def _one_way(delays: Sequence[float | None], src: str, dst: str) -> dict[Key, Any]:
    known = [delay for delay in delays if delay is not None]
    if not known:
        return {}
    sent = [math.inf if delay is None else delay for delay in delays]
    found: dict[Key, Any] = {("owd_p50_ms", src, dst): _median(sent)}
    steps = [abs(b - a) for a, b in pairwise(delays) if a is not None and b is not None]
    if steps:
        found["ipdv_p50_ms", src, dst] = float(np.median(steps))
    for name, value in _percentiles(sent):
        if name != "p95":
            found[f"pdv_{name}_ms", src, dst] = value - min(known)
    return found


def loaded(run: Run, stem: str, src: str, dst: str) -> dict[Key, Any]:
    """Return the figures of a pair while it was under load."""
    rows = run.samples(f"{stem}-loaded-rtt.csv")
    if not rows:
        return {}
    rtts = _of_all_sent(rows)
    found: dict[Key, Any] = {
        ("loaded_rtt_p50_ms", src, dst): _median(rtts),
        ("loaded_loss_ratio", src, dst): sum(map(math.isinf, rtts)) / len(rtts),
    }
    return found | {(f"loaded_rtt_{name}_ms", src, dst): value for name, value in _percentiles(rtts) if name != "p999"}
