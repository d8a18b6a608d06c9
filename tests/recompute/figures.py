"""Each metric of a trial from its evidence, by the definitions in results/README.md alone (numpy)."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tests.recompute.computations import computations, outage
from tests.recompute.evidence import Run

Key = tuple[str, str | None, str | None]

# Within these a relayed or direct path may carry something of the other kind: keepalives to a server, probes.
DIRECT, RELAYED = 0.9, 0.1
_HEADERS_BYTES, _ETHERNET_BYTES = 28, 14
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
        found |= _sizes(run, stem, src, dst)
    found |= _cost(run, trial) | _parties(run, trial, pairs) | _idle(run, trial)
    return found | computations(run, trial, _planned(run, trial)) | outage(run, trial, pairs)


def _planned(run: Run, trial: str) -> dict[str, int]:
    """How many rounds of each workload the trial was to do."""
    job = run.json(f"trials/{trial}/job.json") or {}
    asked = ((job.get("trial") or {}).get("probes") or {}).get("rounds") or {}
    return {"chatty": 150, "mixed": 100, "bulk": 17} | (asked.get("rounds") or {})


def _idle(run: Run, trial: str) -> dict[Key, Any]:
    """Return the busiest node's CPU time and the largest memory while nothing was sent."""
    read = run.json(f"trials/{trial}/idle.json")
    if not read or not read["after"]:
        return {}
    spent = [used["cpu_s"] - read["before"].get(node, {"cpu_s": 0.0})["cpu_s"] for node, used in read["after"].items()]
    return {
        ("idle_cpu_percent", None, None): 100 * max(spent) / read["lasted_s"],
        ("idle_rss_mib", None, None): max(used["rss_mib"] for used in read["after"].values()),
    }


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
    found |= {("rss_mib", None, None): max(needed)} if needed else {}
    ends = [one.get("sent_bytes") for pair in readings for one in pair]
    if moved and None not in ends:
        sent = sum(after["sent_bytes"] - before["sent_bytes"] for before, after in readings)
        found["tcp_edge_ratio", None, None] = abs(sent - moved) / moved
    return found | (_carried(run, trial, readings, moved) if moved else {})


def _carried(run: Run, trial: str, readings: Sequence[tuple[Any, Any]], moved: float) -> dict[Key, Any]:
    """IP bytes and packets that left the sites, and the server, by the links to the segment that they share."""
    topology = ((run.json(f"trials/{trial}/job.json") or {}).get("trial") or {}).get("topology")
    if not topology or topology.get("mininet"):
        return {}
    found: dict[Key, Any] = {}
    for hosts, octets, packets in (
        (topology["members"], "underlay_bytes_per_byte", "underlay_packets_per_mb"),
        ([topology["server"]] if topology.get("server") else [], "server_bytes_per_byte", None),
    ):
        links = {_exit(topology, host) for host in hosts}
        if not links or not all(link in after["links"] for _, after in readings for link in links):
            continue
        frames = size = 0
        for before, after in readings:
            for link in links:
                now, then = after["links"][link]["up"], before["links"].get(link, {}).get("up")
                frames += now["sent"] - (then["sent"] if then else 0)
                size += now["sent_bytes"] - (then["sent_bytes"] if then else 0)
        found[octets, None, None] = (size - _ETHERNET_BYTES * frames) / moved
        if packets is not None:
            found[packets, None, None] = frames / moved * 1e6
    return found


def _exit(topology: Any, host: str) -> str:
    """Return the link by which a host reaches the outermost segment: its own, or that of the last router on its way."""
    node, attachment = host, topology["hosts"][host]
    while attachment.get("via"):
        node, attachment = attachment["via"], topology["routers"][attachment["via"]]["outside"]
    return f"{node}-{attachment['on']}"


def _parties(run: Run, trial: str, pairs: Sequence[tuple[str, str]]) -> dict[Key, Any]:
    """Return what all pairs got at once, and what joining cost."""
    found: dict[Key, Any] = {}
    stems = {pair: f"trials/{trial}/overlay-{pair[0]}-{pair[1]}" for pair in pairs}
    rates = {pair: _received(run.json(f"{stem}-iperf3-at-once.json")) for pair, stem in stems.items()}
    if len(rates) > 1 and all(rate is not None for rate in rates.values()):
        values = np.array(list(rates.values()), dtype=float)
        found["concurrent_tcp_total_mbit", None, None] = float(values.sum())
        found["concurrent_jain_index", None, None] = float(values.sum() ** 2 / (values.size * (values**2).sum()))
        for (src, dst), rate in rates.items():
            found["concurrent_tcp_mbit", src, dst] = rate
            found["concurrent_tcp_share", src, dst] = rate / values.sum()
    ports = run.json(f"trials/{trial}/handshake.json")
    if ports is not None:
        firsts = {
            pair: min(
                (p["answered_s"] for p in run.samples(f"{stem}-pings.csv") or () if p["answered_s"]), default=None
            )
            for pair, stem in stems.items()
        }
        if None not in firsts.values():
            until = {name: max(at for pair, at in firsts.items() if name in pair) for name in ports}  # type: ignore[type-var]
            passed = [[one for one in ports[name] if one[0] <= until[name]] for name in ports]
            found["handshake_bytes", None, None] = float(np.mean([sum(p[1] for p in one) for one in passed]))
            found["handshake_packets", None, None] = float(np.mean([len(one) for one in passed]))
            found["handshake_server_bytes", None, None] = sum(p[1] for one in passed for p in one if p[2])
    return found


def _sizes(run: Run, stem: str, src: str, dst: str) -> dict[Key, Any]:
    """Return the largest packet whose ping succeeded, from what each said; the path MTU over time."""
    found: dict[Key, Any] = {}
    for one, other in ((src, dst), (dst, src)):
        said = run.read(f"{stem}-mtu-{one}.log")
        carried = [int(size) for size in re.findall(rb"^## (\d+) bytes, exit 0$", said or b"", re.M)]
        if carried:
            found["path_mtu_bytes", one, other] = max(carried)
    looks = run.samples(f"{stem}-mtu-watch.csv")
    if looks:
        sizes = [look["carried_bytes"] for look in looks]
        found["path_mtu_changes", src, dst] = sum(a != b for a, b in pairwise(sizes))
        if sizes[0] is not None:
            found["path_mtu_first_bytes", src, dst] = sizes[0]
        if sizes[-1] is not None:
            found["path_mtu_last_bytes", src, dst] = sizes[-1]
    return found


def nearest_rank(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
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
    """Return a member's addresses and those that stand for it outside: of each router on its way out."""
    found, via = _own(topology, member)[0], topology["hosts"][member].get("via")
    while via:
        outside = topology["routers"][via]["outside"]
        found |= set(outside.get("addresses") or [outside.get("address")])
        via = outside.get("via")
    return found
