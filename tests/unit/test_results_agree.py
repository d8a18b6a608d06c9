"""Headline, table, plot, CSV and bound say the same of the same made-up run, whose truth is known.

One overlay behind one pair of NATs: 12 trials, of which 7 are direct (3 ms more), 3 relayed (41 ms more), 1 never
connected and 1 was made in a lab that was not what it said.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from result_samples import Maker

from harness.model.expectation import ExpectedNumber
from harness.report.plots.heatmap import matrix_of
from harness.report.tables import overview
from harness.report.verdict import verdict
from harness.results.expectations import Expected
from harness.results.frame import records_frame
from harness.results.judging import figures_of, judge
from harness.results.pairs import pairs_frame
from harness.results.record import Record
from harness.results.run_judgement import judge_run
from harness.results.summary import summarise

NATS = {"nat_a": "port-restricted", "nat_b": "symmetric"}


def trial(number: int, path: str, added_ms: float, share: float, outcome: str = "ok") -> list[Record]:
    maker = Maker()
    same: dict[str, Any] = {
        "trial": f"t{number}",
        "repeat": number,
        "outcome": outcome,
        **NATS,
        "params": {"deadline_s": 5},
    }
    pair = same | {"src": "a", "dst": "b", "path": path}
    punched = {"metric": "hole_punch_success", "value": float(path == "direct")}
    figures = [
        maker.one("path", "connect_success", "1", float(path != "none"), **pair),
        maker.one("path", punched["metric"], "1", punched["value"], **pair),  # type: ignore[arg-type]
        maker.one("path", "time_to_direct_s", "s", 0.5 + number / 100 if path == "direct" else None, **pair),
    ]
    if path != "none":
        figures.append(maker.one("latency", "added_rtt_p50_ms", "ms", added_ms, **pair | {"path": None}))
        for ends in ({"src": "a", "dst": "b"}, {"src": "b", "dst": "a"}):
            way = pair | ends | {"path": None}
            figures.append(maker.one("throughput", "tcp_throughput_ratio", "1", share, **way))
    return [*figures, maker.one("trial", "duration_s", "s", 9.0, **same)]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    trials = [trial(n, "direct", 3.0 + n / 10, 0.9) for n in range(7)]
    trials += [trial(n, "relayed", 41.0 + n / 10, 0.5) for n in range(7, 10)]
    trials += [trial(10, "none", 0.0, 0.0, "failed"), trial(11, "direct", 500.0, 0.01, "invalid")]
    return [record.as_dict() for of_trial in trials for record in of_trial]


@pytest.fixture(scope="module")
def records(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return records_frame(rows)


@pytest.mark.parametrize(("metric", "header", "digits"), [("added_rtt_p50_ms", "added RTT (ms)", 1)])
def test_what_a_path_costs(
    rows: list[dict[str, Any]], records: pd.DataFrame, metric: str, header: str, digits: int
) -> None:
    truth = {"direct": 3.3, "relayed": 41.8}
    summary = summarise(records)
    of_metric = summary[summary["metric"] == metric].set_index("path")
    assert of_metric["estimate"].to_dict() == pytest.approx(truth) and of_metric["n"].to_dict() == {
        "direct": 7,
        "relayed": 3,
    }
    table = overview(pairs_frame(records))
    at, path = table.header.index(header), table.header.index("path")
    shown = {row[path].split()[-1]: row[at] for row in table.rows}
    assert {name: shown[name] for name in truth} == {name: f"{value:.{digits}f}" for name, value in truth.items()}
    judged = {one.path: one.found for one in judge(rows, ExpectedNumber(metric=metric, max=1))}
    assert {name: one.value for name, one in judged.items()} == pytest.approx(truth)
    for name, one in judged.items():
        assert (one.low, one.high) == pytest.approx(tuple(of_metric.loc[name, ["ci_low", "ci_high"]]))
    assert {name: figures_of(rows)[f"{metric} [{name}]"] for name in truth} == pytest.approx(truth)
    (cost,) = (one for one in verdict(pairs_frame(records)) if one.startswith("Compared with"))
    assert "a direct path, +3.3 ms" in cost and "a relay or hub, +41.8 ms" in cost


def test_how_often_it_succeeds(rows: list[dict[str, Any]], records: pd.DataFrame) -> None:
    """7 of 11: the one that failed is no success, the invalid one is none of them."""
    summary = summarise(records).set_index("metric").loc["hole_punch_success"]
    assert (summary["n"], summary["estimate"], summary["invalid"]) == (11, pytest.approx(7 / 11), 1)
    table = overview(pairs_frame(records))
    assert table.rows[0][table.header.index("hole punch")] == "7/11"
    assert table.rows[0][table.header.index("not ok")] == "1 failed, 1 invalid"
    matrix = matrix_of(pairs_frame(records), "refmesh", "mesh")
    assert matrix is not None
    (cell,) = matrix.cells.values()
    assert (cell.k, cell.n, cell.left_out) == (7, 11, 1)
    (judged,) = judge(rows, ExpectedNumber(metric="hole_punch_success", min=0.9))
    ends = (cell.low, cell.high)
    for other in ((judged.found.low, judged.found.high), (summary["ci_low"], summary["ci_high"])):
        assert ends == pytest.approx(other)
    low, high = (f"{100 * end:.0f}" for end in ends)
    assert f"7 of 11 trials (95 % interval {low} to {high} %)" in verdict(pairs_frame(records))[1]
    (direct,) = judge(rows, ExpectedNumber(metric="time_to_direct_s", max=5))
    assert direct.found.n == 11 and math.isfinite(direct.found.value) and "4 of 11 censored" in direct.found.method


def test_the_exit_code_knows_of_the_trial_that_failed_and_of_the_one_that_shows_nothing(
    rows: list[dict[str, Any]],
) -> None:
    expected = [Expected(f"t{n}", "cell", paths=("direct", "relayed")) for n in range(12)]
    found = judge_run(expected, rows)
    assert (found.judged, found.as_expected) == (12, False)
    assert [complaint.split(":")[0] for complaint in found.complaints] == ["t10", "t11"]
