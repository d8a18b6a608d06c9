"""Two runs compared whose trials took several paths: what each path costs is compared by itself."""

from __future__ import annotations

import pandas as pd
from result_samples import Maker

from harness.results.compare import Comparison, compare
from harness.results.frame import records_frame
from harness.results.record import Record


def run(name: str, direct: int, direct_ms: float = 3.0, relayed_ms: float = 40.0) -> pd.DataFrame:
    """Twenty trials of one cell, so many of them direct."""
    maker, records = Maker(name), list[Record]()
    for repeat in range(20):
        punched = repeat < direct
        same = {"trial": f"t{repeat}", "repeat": repeat, "seed": repeat, "nat_a": "cgn", "nat_b": "cgn"}
        pair = same | {"src": "a", "dst": "b", "path": "direct" if punched else "relayed"}
        rtt_ms = (direct_ms if punched else relayed_ms) * (1 + 0.001 * ((7 * repeat) % 10))
        records.append(maker.one("path", "connect_success", "1", 1.0, **pair))
        records.append(maker.one("path", "hole_punch_success", "1", float(punched), **pair))
        records.append(maker.one("latency", "rtt_p50_ms", "ms", rtt_ms, **same, src="a", dst="b"))
        records.append(maker.one("trial", "duration_s", "s", 5.0, **same))
    return records_frame([record.as_dict() for record in records])


def verdicts(found: Comparison) -> dict[str, str]:
    return {change.metric: change.verdict for change in found.changes}


def test_a_direct_path_that_got_slower_is_found_among_relayed_ones() -> None:
    found = compare(run("a", 10), run("b", 10, direct_ms=9.0))
    assert verdicts(found)["rtt_p50_ms"] == "regression"
    (change,) = found.regressions
    assert change.named == ("cgn x cgn, direct",)
    assert {cell.cell: round(cell.base) for cell in change.cells} == {"cgn x cgn, direct": 3, "cgn x cgn, relayed": 40}


def test_fewer_direct_trials_are_no_slower_paths() -> None:
    found = verdicts(compare(run("a", 19), run("b", 7)))
    assert found == {
        "trial_success": "no difference found",
        "connect_success": "no difference found",
        "hole_punch_success": "regression",
        "rtt_p50_ms": "no difference found",
    }


def test_runs_without_a_path_in_common_are_compared_all_the_same() -> None:
    assert verdicts(compare(run("a", 20), run("b", 0)))["rtt_p50_ms"] == "regression"
