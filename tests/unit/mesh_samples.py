"""Makes the records of a mesh of five members, for the tests of what counts pairs and trials."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from result_samples import Maker

from harness.results.record import Record

MEMBERS = ("p1", "p2", "p3", "p4", "p5")


def mesh_of_five(
    name: str = "t1", relayed: frozenset[tuple[str, str]] = frozenset({("p2", "p4")}), **more: Any
) -> list[Record]:
    """Ten pairs, all direct but those named; a pair's RTT is 10 ms, a relayed one's 50 ms."""
    maker = Maker()
    same = {"trial": name, "mode": "mesh", "topology": "parties", "nat_a": "port-restricted"} | more
    same |= {"nat_b": "port-restricted"} | more
    records = [maker.one("cost", "server_bytes_per_byte", "B/B", 0.2, **same)]
    for src, dst in combinations(MEMBERS, 2):
        direct = (src, dst) not in relayed
        pair = same | {"src": src, "dst": dst, "params": {"deadline_s": 15} | more.get("params", {})}
        path = {"path": "direct" if direct else "relayed"}
        records += [
            maker.one("path", "connect_success", "1", 1, **pair | path),
            maker.one("path", "hole_punch_success", "1", int(direct), **pair | path),
            maker.one("path", "time_to_connect_s", "s", 0.5, **pair | path),
            maker.one("path", "time_to_direct_s", "s", 1.0 if direct else None, **pair | path),
            maker.one("latency", "rtt_p50_ms", "ms", 10 if direct else 50, **pair | path),
        ]
        for way in ({"src": src, "dst": dst}, {"src": dst, "dst": src}):
            value = 100 if way["src"] < way["dst"] else 80
            records.append(maker.one("throughput", "tcp_throughput_mbit", "Mbit/s", value, **pair | way))
    return [*records, maker.one("trial", "duration_s", "s", 9, **same)]
