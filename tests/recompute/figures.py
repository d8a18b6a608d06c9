"""Each metric of a trial from its evidence, by the definitions in results/README.md alone (numpy)."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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


def _loaded(run: Run, stem: str, src: str, dst: str) -> dict[Key, Any]:
    rows = run.samples(f"{stem}-loaded-rtt.csv")
    if not rows:
        return {}
    rtts = _of_all_sent(rows)
    found: dict[Key, Any] = {
        ("loaded_rtt_p50_ms", src, dst): _median(rtts),
        ("loaded_loss_ratio", src, dst): sum(map(math.isinf, rtts)) / len(rtts),
    }
    return found | {(f"loaded_rtt_{name}_ms", src, dst): value for name, value in _percentiles(rtts) if name != "p999"}


def _throughput(run: Run, stem: str, below: str, src: str, dst: str) -> dict[Key, Any]:
    found: dict[Key, Any] = {}
    for way, one, other in (("forward", src, dst), ("backward", dst, src)):
        over, under = (_received(run.json(f"{side}-iperf3-{way}.json")) for side in (stem, below))
        if over is not None:
            found["tcp_throughput_mbit", one, other] = over
            end = run.json(f"{stem}-iperf3-{way}.json")["end"]
            found["tcp_received_bytes", one, other] = end["sum_received"]["bytes"]
            found["tcp_sent_bytes", one, other] = end["sum_sent"]["bytes"]
            found["tcp_retransmissions", one, other] = end["sum_sent"].get("retransmits")
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
