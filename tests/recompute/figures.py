"""Each metric of a trial from its evidence, by the definitions in results/README.md alone (numpy)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tests.recompute.computations import computations, outage
from tests.recompute.costs import cost, idle
from tests.recompute.evidence import Key, Run
from tests.recompute.latency import latency, loaded
from tests.recompute.paths import path


def figures_of(run: Run, trial: str, pairs: Sequence[tuple[str, str]]) -> dict[Key, Any]:
    """Every figure that the evidence of a trial allows, by (metric, src, dst); the path under the metric `path`."""
    found: dict[Key, Any] = {}
    for src, dst in pairs:
        stem = f"trials/{trial}/overlay-{src}-{dst}"
        below = f"trials/{trial}/underlay-{src}-{dst}"
        found |= latency(run, stem, below, src, dst)
        found |= loaded(run, stem, src, dst)
        found |= _throughput(run, stem, below, src, dst)
        found |= path(run, trial, stem, src, dst)
        found |= _sizes(run, stem, src, dst)
    found |= cost(run, trial) | _parties(run, trial, pairs) | idle(run, trial)
    return found | computations(run, trial, _planned(run, trial)) | outage(run, trial, pairs)


def _planned(run: Run, trial: str) -> dict[str, int]:
    """How many rounds of each workload the trial was to do."""
    job = run.json(f"trials/{trial}/job.json") or {}
    asked = ((job.get("trial") or {}).get("probes") or {}).get("rounds") or {}
    return {"chatty": 150, "mixed": 100, "bulk": 17} | (asked.get("rounds") or {})


def _parties(run: Run, trial: str, pairs: Sequence[tuple[str, str]]) -> dict[Key, Any]:
    """Return what all pairs got at once, and what joining cost."""
    found: dict[Key, Any] = {}
    stems = {pair: f"trials/{trial}/overlay-{pair[0]}-{pair[1]}" for pair in pairs}
    rates = _at_once(run, trial, stems)
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


def _at_once(run: Run, trial: str, stems: dict[tuple[str, str], str]) -> dict[tuple[str, str], float | None]:
    """Return what each receiver got between its two readings, Mbit/s; 0 of a pair that broke; None: nothing tells."""
    kept = run.json(f"trials/{trial}/overlay-at-once.json")
    if not isinstance(kept, dict):  # of runs before there were readings: each iperf3's own rate
        broke = {(row["src"], row["dst"]) for row in kept or () if row.get("error")}
        return {
            pair: 0.0 if pair in broke else _received(run.json(f"{stem}-iperf3-at-once.json"))
            for pair, stem in stems.items()
        }
    rates: dict[tuple[str, str], float | None] = {}
    for row in kept["pairs"]:
        before, after = row["before"], row["after"]
        moved, took = 0.0, 1.0
        if before and after:
            moved, took = after["received_bytes"] - before["received_bytes"], after["at_s"] - before["at_s"]
        rates[row["src"], row["dst"]] = None if kept["no_common_time"] else 8 * moved / took / 1e6
    return rates


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


def of_cell(run: Run, rows: Sequence[dict[str, Any]], told: dict[Key, Any]) -> dict[Key, Any]:
    """Figures of the underlay's own trial, on whichever host it was measured, where a trial was compared with it."""
    found: dict[Key, Any] = {}
    for row in rows:
        ends = (row["src"], row["dst"])
        if row["metric"] == "underlay_tcp_throughput_mbit" and (row["metric"], *ends) not in told and row["evidence"]:
            under, over = _received(run.json(row["evidence"])), told.get(("tcp_throughput_mbit", *ends))
            if under is not None:
                found[row["metric"], *ends] = under
            if under and over is not None:
                found["tcp_throughput_ratio", *ends] = over / under
    return found


def _received(result: Any) -> float | None:
    """Bits that the receiver counted over the seconds that it measured, in Mbit/s."""
    received = (result or {}).get("end", {}).get("sum_received")
    return None if not received else 8 * received["bytes"] / received["seconds"] / 1e6
