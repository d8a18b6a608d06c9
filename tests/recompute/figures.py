"""Each metric of a trial from its evidence, by the definitions in results/README.md alone (numpy)."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tests.recompute.evidence import Run

Key = tuple[str, str | None, str | None]

# Within these a relayed or direct path may carry something of the other kind: keepalives to a server, probes.
DIRECT, RELAYED = 0.9, 0.1
_HEADERS_BYTES = 28
# The smallest of the pings that have sizes of their own.
_SMALLEST_BYTES = 300


def figures_of(run: Run, trial: str, pairs: Sequence[tuple[str, str]]) -> dict[Key, Any]:
    """Every figure that the evidence of a trial allows, by (metric, src, dst); the path under the metric `path`."""
    found: dict[Key, Any] = {}
    for src, dst in pairs:
        stem = f"trials/{trial}/overlay-{src}-{dst}"
        below = f"trials/{trial}/underlay-{src}-{dst}"
        found |= _latency(run, stem, below, src, dst)
        found |= _loaded(run, stem, src, dst)
        found |= _throughput(run, stem, below, src, dst)
        found |= _path(run, trial, stem, src, dst)
    return found | _cost(run, trial)


def _cost(run: Run, trial: str) -> dict[Key, Any]:
    """CPU time and memory, from the readings inside the loads."""
    windows = run.json(f"trials/{trial}/overlay-cost.json") or []
    readings = [(one["before"], one["after"]) for one in windows]
    moved = sum(after["received_bytes"] - before["received_bytes"] for before, after in readings)
    found: dict[Key, Any] = {}
    spent = sum(
        used["cpu_s"] - before["usage"].get(node, {"cpu_s": 0.0})["cpu_s"]
        for before, after in readings
        for node, used in after["usage"].items()
    )
    if moved and spent:
        found["cpu_s_per_gb", None, None] = spent / moved * 1e9
    needed = [used["rss_mib"] for _, after in readings for used in after["usage"].values()]
    return found | ({("rss_mib", None, None): max(needed)} if needed else {})


def nearest_rank(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(share * len(ordered) - 1e-9)) - 1]


def _latency(run: Run, stem: str, below: str, src: str, dst: str) -> dict[Key, Any]:
    rows = run.samples(f"{stem}-rtt.csv")
    if not rows:
        return {}
    # A packet that never came back is later than all others (RFC 2681).
    rtts = [math.inf if row["rtt_ms"] is None else row["rtt_ms"] for row in rows]
    answered = [rtt for rtt in rtts if math.isfinite(rtt)]
    found: dict[Key, Any] = {("loss_ratio", src, dst): 1 - len(answered) / len(rtts)}
    if answered:
        found[("rtt_min_ms", src, dst)] = min(answered)
        found[("rtt_max_ms", src, dst)] = _either(rtts, answered, max)
        for name, share, fewest in (("p95", 0.95, 1), ("p99", 0.99, 100), ("p999", 0.999, 1000)):
            if len(answered) >= fewest:
                found[(f"rtt_{name}_ms", src, dst)] = _either(rtts, answered, lambda v, s=share: nearest_rank(v, s))
        found[("rtt_p50_ms", src, dst)] = _either(rtts, answered, _median)
    found |= _lost_each_way(run.json(f"{stem}-irtt.json"), src, dst)
    under = run.samples(f"{below}-rtt.csv")
    known = [row["rtt_ms"] for row in under or () if row["rtt_ms"] is not None]
    if answered and known:
        below_all = _median([math.inf if row["rtt_ms"] is None else row["rtt_ms"] for row in under or ()])
        found[("underlay_rtt_p50_ms", src, dst)] = (below_all, float(np.median(known)))
        added = _median(rtts) - below_all if math.isfinite(below_all) else math.inf
        found[("added_rtt_p50_ms", src, dst)] = (added, float(np.median(answered) - np.median(known)))
    trips = (run.json(f"{stem}-irtt.json") or {}).get("round_trips") or ()
    lost = {trip["seqno"]: trip["lost"] for trip in trips}
    for one, other, column, elsewhere in ((src, dst, "there_ms", "true_down"), (dst, src, "back_ms", "true_up")):
        # What was lost on the other way either never set out on this one, or arrived without a stamp.
        delays = [row.get(column) for row in rows if lost.get(int(row["seq"] or 0)) != elsewhere]
        found |= _one_way(delays, one, other)
    return found


def _lost_each_way(irtt: Any, src: str, dst: str) -> dict[Key, Any]:
    """Share lost on each way, of what set out on it; only where irtt knows the way of every lost packet."""
    lost = Counter(trip["lost"] for trip in (irtt or {}).get("round_trips") or ())
    sent, there, back = lost.total(), lost["true_up"], lost["true_down"]
    if not sent or lost["true"]:
        return {}
    found: dict[Key, Any] = {("oneway_loss_ratio", src, dst): there / sent}
    return found | ({("oneway_loss_ratio", dst, src): back / (sent - there)} if sent > there else {})


def _either(rtts: Sequence[float], answered: Sequence[float], of: Any) -> tuple[float, ...]:
    """Of all packets, a lost one being infinite; or of those that were answered, where nothing was lost the same."""
    return (of(list(rtts)), of(list(answered)))


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return high if math.isinf(high) else (low + high) / 2


def _one_way(delays: Sequence[float | None], src: str, dst: str) -> dict[Key, Any]:
    known = np.array([delay for delay in delays if delay is not None])
    if not known.size:
        return {}
    every = [math.inf if delay is None else delay for delay in delays]
    found: dict[Key, Any] = {("owd_p50_ms", src, dst): (_median(every), float(np.median(known)))}
    steps = [abs(b - a) for a, b in pairwise(delays) if a is not None and b is not None]
    if steps:
        found[("ipdv_p50_ms", src, dst)] = float(np.median(steps))
    for name, share, fewest in (("p99", 0.99, 100), ("p999", 0.999, 1000)):
        if len(every) >= fewest:
            above = _either(every, list(known), lambda values, s=share: nearest_rank(values, s) - float(known.min()))
            found[(f"pdv_{name}_ms", src, dst)] = above
    return found


def _loaded(run: Run, stem: str, src: str, dst: str) -> dict[Key, Any]:
    rows = run.samples(f"{stem}-loaded-rtt.csv")
    answered = [row["rtt_ms"] for row in rows or () if row["rtt_ms"] is not None]
    if not answered:
        return {}
    assert rows is not None
    every = [math.inf if row["rtt_ms"] is None else row["rtt_ms"] for row in rows]
    return {
        ("loaded_rtt_p50_ms", src, dst): (_median(every), float(np.median(answered))),
        ("loaded_loss_ratio", src, dst): 1 - len(answered) / len(rows),
    }


def _throughput(run: Run, stem: str, below: str, src: str, dst: str) -> dict[Key, Any]:
    found: dict[Key, Any] = {}
    for way, one, other in (("forward", src, dst), ("backward", dst, src)):
        over, under = (_received(run.json(f"{side}-iperf3-{way}.json")) for side in (stem, below))
        if over is not None:
            found["tcp_throughput_mbit", one, other] = over
        if over is not None and under:
            found["underlay_tcp_throughput_mbit", one, other] = under
            found["tcp_throughput_ratio", one, other] = over / under
    return found


def _received(result: Any) -> float | None:
    """Bits that the receiver counted over the seconds that it measured, in Mbit/s."""
    received = (result or {}).get("end", {}).get("sum_received")
    return None if not received else 8 * received["bytes"] / received["seconds"] / 1e6


def _path(run: Run, trial: str, stem: str, src: str, dst: str) -> dict[Key, Any]:
    job = run.json(f"trials/{trial}/job.json")
    said, pings = run.read(f"{stem}-ping.log"), run.samples(f"{stem}-pings.csv")
    found: dict[Key, Any] = {}
    if said is not None:  # of runs before the pings had sizes of their own
        found["connect_success", src, dst] = float(re.search(rb"bytes from .* time=", said) is not None)
    if pings is not None:
        found["connect_success", src, dst] = float(any(ping["answered_s"] is not None for ping in pings))
    flows = run.read(f"{stem}-burst-flows.txt")
    members = ((job or {}).get("trial") or {}).get("topology", {}).get("members") or ()
    if flows is None or job is None or len(members) != 2:
        return found  # with more members other pairs' traffic is in the same flows
    probe = job["trial"]["probes"]["path"]
    each = probe["payload_bytes"] + _HEADERS_BYTES if pings is None else _SMALLEST_BYTES
    burst = probe["burst_packets"] / 2 * each
    shares = []
    for one, other in ((src, dst), (dst, src)):
        own, segment = _own(job["trial"]["topology"], one)
        public = _public(job["trial"]["topology"], other)
        for column in (0, 1):
            direct = relayed = 0.0
            for place, *ends, size in re.findall(r"^(\S+) (\S+) > (\S+) (\d+) bytes$", flows.decode(), re.M):
                if place == segment and ends[column] in own:
                    direct += int(size) if ends[1 - column] in public else 0
                    relayed += 0 if ends[1 - column] in public else int(size)
            shares.append(math.nan if direct + relayed < burst else direct / (direct + relayed))
    if not any(map(math.isnan, shares)):
        a_sent, a_got, b_sent, b_got = shares
        ways = {_way(a_sent, b_got), _way(b_sent, a_got)}
        verdict = ways.pop() if len(ways) == 1 else "mixed" if "mixed" in ways else "asymmetric"
        # What is mixed for the counters may be told by the pings themselves, with a capture that is not kept.
        if verdict != "mixed" or pings is None:
            found["path", src, dst] = verdict
    return found


def _way(*shares: float) -> str:
    return "direct" if min(shares) >= DIRECT else "relayed" if max(shares) <= RELAYED else "mixed"


def _own(topology: Any, member: str) -> tuple[set[str], str]:
    host = topology["hosts"][member]
    return set(host.get("addresses") or [host.get("address")]), host["on"]


def _public(topology: Any, member: str) -> set[str]:
    """A member's addresses and those that stand for it outside: of each router on its way out."""
    found, via = _own(topology, member)[0], topology["hosts"][member].get("via")
    while via:
        outside = topology["routers"][via]["outside"]
        found |= set(outside.get("addresses") or [outside.get("address")])
        via = outside.get("via")
    return found
