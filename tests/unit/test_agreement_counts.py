"""What of simulated worlds counts when engine, algebra and lab are held together."""

from __future__ import annotations

from itertools import pairwise

from result_samples import Maker

from harness.results.agreement import Count, simulated_counts, whole_groups
from harness.results.frame import records_frame


def test_a_world_in_which_the_harness_failed_is_no_failure_of_the_engine() -> None:
    maker, records = Maker(), []
    for size, names in ((2, ("a", "b")), (3, ("a", "b", "c"))):
        for number in range(10):
            params = {"group": size, "technique": "full", "port_mapping": False, "ipv6": False}
            outcome = "ok" if number < 5 else "error"
            same = {"trial": f"{size}-{number}", "params": params, "engine": "simulated", "outcome": outcome}
            for src, dst in pairwise(names):
                pair = {src: {"access": "x"}, dst: {"access": "y"}}
                value = 1.0 if outcome == "ok" else None
                records.append(maker.one("path", "hole_punch_success", "1", value, src=src, dst=dst, pair=pair, **same))
            records.append(maker.one("trial", "duration_s", "s", 1.0, **same))
    frame = records_frame([record.as_dict() for record in records])
    assert list(simulated_counts(frame).values()) == [Count(5, 5)]
    assert list(whole_groups(frame).values()) == [Count(5, 5)]
