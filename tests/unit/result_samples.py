"""Makes records as a worker would, for the tests of everything that reads them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from typing import Any

from harness.results.record import Record

NATS = ("full-cone", "port-restricted", "symmetric")
SUBJECTS = (
    ("underlay", "underlay"),
    ("refmesh", "mesh"),
    ("refmesh", "relay"),
    ("refmesh", "hub"),
    ("openvpn", "hub"),
    ("nebula", "mesh"),
)
UNDERLAY_RTT_MS = 42.0
UNDERLAY_MBIT = 20.0
PAIR = {"overlay": "nebula", "mode": "mesh", "nat_a": "symmetric", "nat_b": "symmetric"}
EVIL = "<script>alert(1)</script>"


@dataclass
class Maker:
    """Records of one run; `slower_ms` is added to every round-trip time of the overlays.

    `full`: every probe ran, those as well that the demo leaves out; nebula then has a black hole.
    """

    run: str = "run-1"
    seed: int = 1
    slower_ms: float = 0.0
    noise_ms: float = 0.3
    full: bool = False
    params: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def one(self, probe: str, metric: str, unit: str, value: float | None, **more: Any) -> Record:
        """One record; `more` overrides any field."""
        fields: dict[str, Any] = {
            "run": self.run,
            "scenario": "demo",
            "trial": "t1",
            "repeat": 0,
            "seed": 7,
            "overlay": "refmesh",
            "mode": "mesh",
            "topology": "two-sites",
            "params": self.params,
            "probe": probe,
            "metric": metric,
            "unit": unit,
            "value": value,
            "started_at": "2026-11-23T12:00:00Z",
        }
        return Record(**(fields | more))

    def trial(self, trial: str, *, overlay: str, mode: str, nat_a: str, nat_b: str, repeat: int = 0) -> list[Record]:
        """All records of one trial, the terminating one last."""
        same: dict[str, Any] = {
            "trial": trial,
            "overlay": overlay,
            "mode": mode,
            "nat_a": nat_a,
            "nat_b": nat_b,
            "link": "dsl",
            "repeat": repeat,
            "seed": 1000 + repeat,
        }
        pair = same | {"src": "a", "dst": "b"}
        noise = abs(self.rng.gauss(0, self.noise_ms))
        direct = overlay == "underlay" or (mode == "mesh" and (nat_a, nat_b) != ("symmetric", "symmetric"))
        path = "direct" if direct else "relayed"
        rtt = UNDERLAY_RTT_MS + noise + (0 if overlay == "underlay" else 1.5 + self.slower_ms) + (0 if direct else 20)
        share = (1 if overlay == "underlay" else 0.9 if direct else 0.45) * (1 - 0.02 * self.rng.random())
        paths = {"path": path, "path_claimed": path}
        bound = paths | {"params": self.params | {"deadline_s": 15}}
        records = [
            self.one("lab", "lab_start_s", "s", 0.3 + noise / 10, **same),
            self.one("lab", "repeated_measurements", "count", 0, **same),
            self.one("lab", "link_lateness_p99_us", "us", 80 + noise, **same),
            self.one("deploy", "time_to_ready_s", "s", 0.8 + noise, **same),
            self.one("path", "connect_success", "1", 1, **pair | bound),
            self.one("path", "time_to_connect_s", "s", 0.2 + noise / 10, **pair | bound),
        ]
        if mode in {"mesh", "direct"}:
            records.append(self.one("path", "hole_punch_success", "1", int(direct), **pair | bound))
            late = 0.5 + noise if direct else None
            records.append(self.one("path", "time_to_direct_s", "s", late, **pair | bound))
        records += [
            self.one("latency", f"rtt_{part}_ms", "ms", rtt + more, **pair | paths)
            for part, more in (("min", -0.5), ("p50", 0), ("p95", 1), ("p99", 2), ("max", 5))
        ]
        records += [
            self.one("latency", "loss_ratio", "1", 0, **pair | paths),
            self.one("latency", "underlay_rtt_p50_ms", "ms", UNDERLAY_RTT_MS + noise / 3, **pair),
            self.one("latency", "added_rtt_p50_ms", "ms", rtt - UNDERLAY_RTT_MS, **pair | paths),
        ]
        for src, dst in (("a", "b"), ("b", "a")):
            way = same | {"src": src, "dst": dst}
            records += [
                self.one("throughput", "tcp_throughput_mbit", "Mbit/s", UNDERLAY_MBIT * share, **way),
                self.one("throughput", "underlay_tcp_throughput_mbit", "Mbit/s", UNDERLAY_MBIT, **way),
                self.one("throughput", "tcp_throughput_ratio", "1", share, **way),
            ]
        if self.full:
            records += self._rarer(same, pair, rtt=rtt, share=share, direct=direct)
        return [*records, self.one("trial", "duration_s", "s", 12 + noise, **same)]

    def _rarer(
        self, same: dict[str, Any], pair: dict[str, Any], *, rtt: float, share: float, direct: bool
    ) -> list[Record]:
        """Return what the probes of load, packet sizes and overhead find."""
        offered, hole = (1500, 0) if same["overlay"] == "underlay" else (1420, int(same["overlay"] == "nebula"))
        queue = 40 + 3 * self.rng.random()
        records = [
            *(
                self.one("loaded_latency", f"loaded_rtt_{part}_ms", "ms", rtt + queue + more, **pair)
                for part, more in (("p50", 0), ("p95", 9), ("p99", 15))
            ),
            self.one("loaded_latency", "rtt_rise_p50_ms", "ms", queue, **pair),
            self.one("loaded_latency", "loaded_loss_ratio", "1", 0.01, **pair),
            self.one("cost", "underlay_bytes_per_byte", "B/B", 2 / share, **same),
            self.one("cost", "underlay_packets_per_mb", "1/MB", 1500 / share, **same),
            self.one("cost", "cpu_s_per_gb", "s/GB", 20 / share, **same),
            self.one("cost", "rss_mib", "MiB", 40 + self.rng.random(), **same),
        ]
        if not direct:
            records.append(self.one("cost", "server_bytes_per_byte", "B/B", 1.1, **same))
        for src, dst in (("a", "b"), ("b", "a")):
            way = same | {"src": src, "dst": dst}
            records += [
                self.one("latency", "owd_p50_ms", "ms", rtt / 2, **way),
                self.one("throughput", "tcp_throughput_both_mbit", "Mbit/s", 0.8 * UNDERLAY_MBIT * share, **way),
                self.one("udp", "udp_goodput_mbit", "Mbit/s", 0.97 * UNDERLAY_MBIT * share, **way),
                self.one("mtu", "offered_mtu_bytes", "B", offered, **way),
                self.one("mtu", "path_mtu_bytes", "B", offered - 80 * hole * (src == "a"), **way),
                self.one("mtu", "pmtu_black_hole", "1", hole * (src == "a"), **way),
            ]
        return records

    def ended(self, trial: str, outcome: str, *, overlay: str, mode: str, nat_a: str, nat_b: str) -> list[Record]:
        """Return a trial without a measurement: failed (its primary metrics are 0), unsupported, invalid or error."""
        same: dict[str, Any] = {
            "trial": trial,
            "overlay": overlay,
            "mode": mode,
            "nat_a": nat_a,
            "nat_b": nat_b,
            "link": "dsl",
            "outcome": outcome,
            "error": f"{outcome}: the daemon said no",
        }
        records = []
        if outcome == "failed":
            pair = same | {"src": "a", "dst": "b", "params": self.params | {"deadline_s": 15}}
            records = [self.one("path", name, "1", 0, **pair) for name in ("connect_success", "hole_punch_success")]
        return [*records, self.one("trial", "duration_s", "s", 3, **same)]

    def campaign(self, repeats: int = 1) -> list[list[Record]]:
        """Return the demo's matrix: 6 subjects, 6 unordered NAT pairs, `repeats` runs; a list per trial."""
        trials = []
        for repeat in range(repeats):
            for overlay, mode in SUBJECTS:
                for nat_a, nat_b in combinations_with_replacement(NATS, 2):
                    name = f"{overlay}-{mode}-{nat_a}-{nat_b}-{repeat}"
                    trials.append(self.trial(name, overlay=overlay, mode=mode, nat_a=nat_a, nat_b=nat_b, repeat=repeat))
        return trials
