"""Makes the records of three parties behind different NATs, which decide what connects directly."""

from __future__ import annotations

from itertools import combinations

from result_samples import Maker

from harness.results.record import Record

NATS = {"p1": "full-cone", "p2": "port-restricted", "p3": "symmetric"}


def parties_behind_nats(trials: int) -> list[Record]:
    """All pairs punch a hole in all trials, but for port-restricted with symmetric."""
    maker, records = Maker(), list[Record]()
    for number in range(trials):
        same = {"trial": f"t{number}", "repeat": number, "topology": "parties"}
        for src, dst in combinations(NATS, 2):
            punched = "p1" in (src, dst)
            pair = {name: {"nat": NATS[name]} for name in (src, dst)}
            more = same | {"src": src, "dst": dst, "pair": pair, "path": "direct" if punched else "relayed"}
            records.append(maker.one("path", "connect_success", "1", 1.0, **more))
            records.append(maker.one("path", "hole_punch_success", "1", float(punched), **more))
        facts = {name: {"nat": nat} for name, nat in NATS.items()}
        records.append(maker.one("trial", "duration_s", "s", 9.0, **same, pair=facts))
    return records
