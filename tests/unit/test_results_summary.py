"""What the summary says of a cell: its estimate, its interval, and what was left out."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from result_samples import Maker

from harness.results.cells import CELL
from harness.results.frame import records_frame
from harness.results.record import Record
from harness.results.summary import COLUMNS, summarise

PAIR = {"overlay": "refmesh", "mode": "mesh", "nat_a": "full-cone", "nat_b": "symmetric"}


def summary_of(records: Sequence[Record]) -> pd.DataFrame:
    return summarise(records_frame([record.as_dict() for record in records]))


def row_of(summary: pd.DataFrame, metric: str) -> pd.Series:
    rows = summary[summary["metric"] == metric]
    assert len(rows) == 1
    return rows.iloc[0]


def test_columns_and_cells() -> None:
    summary = summary_of([record for trial in Maker().campaign(2) for record in trial])
    assert tuple(summary.columns) == COLUMNS
    assert set(summary[summary["metric"] == "hole_punch_success"]["mode"]) == {"mesh"}
    assert not summary.duplicated([*CELL, "metric"]).any()


def test_success_has_a_wilson_interval() -> None:
    maker = Maker()
    records = [record for i in range(10) for record in maker.trial(f"t{i}", **PAIR, repeat=i)]
    row = row_of(summary_of(records), "hole_punch_success")
    assert (row["n"], row["estimate"]) == (10, 1.0)
    # 10 of 10: Wilson gives [n / (n + z^2), 1].
    assert row["ci_low"] == pytest.approx(10 / (10 + 1.959964**2), abs=1e-6)
    assert row["ci_high"] == pytest.approx(1.0)


def test_one_run_has_no_interval_and_says_so() -> None:
    row = row_of(summary_of(Maker().trial("t1", **PAIR)), "rtt_p50_ms")
    assert row["n"] == 1
    assert np.isnan(row["ci_low"])
    assert "no interval" in row["method"]


def test_failed_counts_as_no_success_and_others_are_only_counted() -> None:
    maker = Maker()
    records = [record for i in range(4) for record in maker.trial(f"t{i}", **PAIR, repeat=i)]
    for outcome in ("failed", "unsupported", "invalid", "error"):
        records += maker.ended(f"t-{outcome}", outcome, **PAIR)
    summary = summary_of(records)
    row = row_of(summary, "hole_punch_success")
    assert (row["n"], row["estimate"]) == (5, 0.8)
    assert (row["failed"], row["unsupported"], row["invalid"], row["error"]) == (1, 1, 1, 1)
    # A failed trial measured no latency: it is counted there, too, though not in n.
    row = row_of(summary, "rtt_p50_ms")
    assert (row["n"], row["failed"], row["invalid"]) == (4, 1, 1)


def test_a_cell_that_is_unsupported_altogether_has_a_row() -> None:
    summary = summary_of(Maker().ended("t1", "unsupported", **PAIR))
    row = row_of(summary, "duration_s")
    assert (row["n"], row["unsupported"]) == (0, 1)
    assert np.isnan(row["estimate"])


def test_times_that_never_came_are_censored_not_dropped() -> None:
    maker = Maker()
    times = [0.5, 0.6, 0.7, None, None, None, None]
    records = []
    for i, value in enumerate(times):
        same = {"trial": f"t{i}", "src": "a", "dst": "b", "params": {"deadline_s": 15}}
        records.append(maker.one("path", "time_to_direct_s", "s", value, **same))
        records.append(maker.one("trial", "duration_s", "s", 10.0, trial=f"t{i}"))
    row = row_of(summary_of(records), "time_to_direct_s")
    assert row["n"] == 7
    assert np.isinf(row["estimate"])
    assert np.isinf(row["ci_high"])
    assert "4 of 7 censored" in row["method"]
    assert row["params"] == "{}"


def test_several_values_of_one_trial_are_one_run() -> None:
    maker = Maker()
    same = {"src": "a", "dst": "b"}
    records = [maker.one("latency", "rtt_p50_ms", "ms", value, **same) for value in (10.0, 20.0, 90.0)]
    records.append(maker.one("trial", "duration_s", "s", 10.0))
    row = row_of(summary_of(records), "rtt_p50_ms")
    assert (row["n"], row["estimate"]) == (1, 20.0)


def test_other_parameters_are_other_cells() -> None:
    records = [
        *Maker(params={"mtu": 1280}).trial("t1", **PAIR),
        *Maker(params={"mtu": 1500}).trial("t2", **PAIR),
    ]
    summary = summary_of(records)
    assert set(summary["params"]) == {'{"mtu":1280}', '{"mtu":1500}'}
    assert (summary["n"] <= 1).all()


def test_no_records_no_rows() -> None:
    assert summary_of([]).empty


def test_no_row_pools_what_two_paths_cost() -> None:
    """6 direct trials at 3 ms and 4 relayed at 41 ms: the median of all, 3, would be that of none of the relayed."""
    maker, records = Maker(), []
    for number in range(10):
        path, added = ("direct", 3.0) if number < 6 else ("relayed", 41.0)
        same = {"trial": f"t{number}", "repeat": number, "src": "a", "dst": "b"}
        records += [
            maker.one("path", "connect_success", "1", 1.0, path=path, **same),
            maker.one("path", "hole_punch_success", "1", float(number < 6), path=path, **same),
            maker.one("latency", "added_rtt_p50_ms", "ms", added, **same),
            maker.one("latency", "owd_p50_ms", "ms", added / 2, **same | {"src": "b", "dst": "a"}),
            maker.one("cost", "rss_mib", "MiB", added, **same | {"src": None, "dst": None}),
            maker.one("deploy", "time_to_ready_s", "s", added, **same | {"src": None, "dst": None}),
            maker.one("trial", "duration_s", "s", 9.0, **same | {"src": None, "dst": None}),
        ]
    summary = summary_of(records)
    for metric, scale in (("added_rtt_p50_ms", 1.0), ("owd_p50_ms", 0.5), ("rss_mib", 1.0)):
        rows = summary[summary["metric"] == metric]
        found = list(zip(rows["path"], rows["n"], rows["estimate"], strict=True))
        assert found == [("direct", 6, 3.0 * scale), ("relayed", 4, 41.0 * scale)], metric
    for metric, n in (("hole_punch_success", 10), ("time_to_ready_s", 10), ("duration_s", 10)):
        row = row_of(summary, metric)
        assert (row["path"], row["n"]) == ("", n)
    assert not summary.duplicated([*CELL, "metric", "path", "over"]).any()
