"""Two runs in which parties computed, compared: what got slower is found, what the machine did is not blamed on it."""

from __future__ import annotations

import pandas as pd
import pytest
from result_samples import Maker

from harness.report.comparison import remarks
from harness.results.compare import compare
from harness.results.frame import records_frame
from harness.results.record import Record


def run(name: str, times: float, below: float = 1.0, share: float = 1.0, *, with_ratios: bool = False) -> pd.DataFrame:
    """Ten trials of a hub and of a mesh, the hub `times` as slow, the underlay's own computation `below`."""
    maker, records = Maker(name), list[Record]()
    for mode, factor in (("mesh", below), ("hub", times)):
        for repeat in range(10):
            noise = 1 + 0.01 * ((7 * repeat) % 10) / 10
            same = {"trial": f"{mode}{repeat}", "mode": mode, "repeat": repeat, "seed": repeat, "params": {"n": 4}}
            for what in ("chatty_{}completion_s", "mpyc_dense_{}s"):
                probe = "mpyc" if "mpyc" in what else "rounds"
                records.append(maker.one(probe, what.format(""), "s", 2 * factor * noise, **same))
                records.append(maker.one(probe, what.format("underlay_"), "s", 1.5 * below * noise, **same))
                if with_ratios:
                    ratio = what.replace("completion_s", "underlay_ratio").replace("dense_{}s", "dense_underlay_ratio")
                    value = factor / below * (1 + 0.01 * ((3 * repeat) % 10) / 10)
                    records.append(maker.one(probe, ratio.format(""), "1", value, **same))
            value = noise * (share if mode == "hub" else 1)
            records.append(maker.one("availability", "availability", "1", value, **same))
            records.append(maker.one("trial", "duration_s", "s", 9.0, **same))
    return records_frame([record.as_dict() for record in records])


@pytest.mark.parametrize("metric", ["chatty_completion_s", "mpyc_dense_s", "availability"])
def test_a_computation_that_got_slower_through_the_hub_is_a_regression_of_the_hub(metric: str) -> None:
    found = compare(run("a", 1.0), run("b", 3.0, share=0.2))
    verdicts = {change.subject: change.verdict for change in found.changes if change.metric == metric}
    assert verdicts["refmesh hub"] == "regression" and verdicts["refmesh mesh"] == "no difference found"


def test_what_the_underlays_own_computation_shows_is_the_machines() -> None:
    found = compare(run("a", 1.0), run("b", 1.3, below=1.3))
    assert not found.regressions
    assert {one.verdict for one in found.changes if one.metric == "chatty_completion_s"} == {"machine moved"}


def test_times_of_another_machine_are_left_out_and_shares_are_not() -> None:
    found = compare(run("a", 1.0), run("b", 3.0, share=0.2), same_machine=False)
    assert {one.metric for one in found.regressions} == {"availability"}
    assert {"chatty_completion_s", "mpyc_dense_s"} <= set(found.left_out)
    for metric in ("chatty_completion_s", "mpyc_dense_s"):
        assert any(f"{metric} was not compared" in said for said in found.remarks), "no cell has the underlay's"


def test_times_of_another_machine_are_compared_as_multiples_of_the_underlays_in_the_same_trial() -> None:
    """A machine half as fast, on which the hub is three times as slow beyond that: the hub's fault, not the mesh's."""
    sides = (run("a", 1.0, with_ratios=True), run("b", 6.0, below=2.0, with_ratios=True))
    found = compare(*sides, same_machine=False)
    assert {(one.subject, one.metric) for one in found.regressions} >= {
        ("refmesh hub", "chatty_underlay_ratio"),
        ("refmesh hub", "mpyc_dense_underlay_ratio"),
    }
    assert "refmesh mesh" not in {one.subject for one in found.regressions}
    said = "chatty_completion_s of another machine was compared as chatty_underlay_ratio"
    assert any(said in line for line in remarks(found)) and not any(
        "was not compared" in line for line in remarks(found)
    )
    same = compare(*sides)
    assert "chatty_underlay_ratio" not in {one.metric for one in same.changes}, "on one machine it is tested once"
