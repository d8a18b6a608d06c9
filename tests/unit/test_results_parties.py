"""Five members are ten pairs: progress, terminal, report and CSV count them alike, over pairs and over trials."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mesh_samples import MEMBERS, mesh_of_five
from result_samples import Maker
from rich.console import Console

from harness.campaign.progress import one_line
from harness.report.plots.heatmap import matrix_of
from harness.report.tables import overview, path_matrix
from harness.report.terminal import print_results
from harness.report.verdict import verdict
from harness.results.conditions import condition_labels
from harness.results.frame import records_frame
from harness.results.pairs import SEVERAL, pairs_frame
from harness.results.paths import paths_of, trial_figures
from harness.results.record import Record
from harness.results.summary import summarise
from harness.results.trials import trials_frame


def frame_of(*trials: list[Record]) -> pd.DataFrame:
    return records_frame([record.as_dict() for trial in trials for record in trial])


def test_progress_counts_pairs() -> None:
    line = one_line(type("Trial", (), {"id": "t1"})(), mesh_of_five())  # type: ignore[arg-type]
    assert line.startswith(
        "t1: ok, 9 direct, 1 relayed, hole punch 9/10 pairs, connect 0.50 s, direct 1.00 s, RTT 10.00"
    )
    paths = paths_of(record.as_dict() for record in mesh_of_five())
    assert (paths.punched, paths.tried, paths.all_direct) == (9, 10, False)
    two = [record for record in mesh_of_five() if {record.src, record.dst} <= {"p1", "p2", None}]
    assert "t1: ok, direct, connect" in one_line(type("Trial", (), {"id": "t1"})(), two)  # type: ignore[arg-type]


def test_terminal_and_report_count_pairs_and_trials() -> None:
    records = frame_of(mesh_of_five(), mesh_of_five("t2", frozenset(), repeat=1))
    table = overview(pairs_frame(records))
    rows = {row[3]: row for row in table.rows}
    assert set(rows) == {"19 direct", "1 relayed"}
    assert rows["19 direct"][1] == "19/20 pairs, 1/2 trials"
    assert rows["19 direct"][6] == rows["1 relayed"][6] == "90.0"  # both ways of a pair are one value
    assert "a trial succeeds if all of its pairs do" in table.note
    assert path_matrix(pairs_frame(records)).rows[0][1] == "direct 19/20, relayed 1/20"
    assert "refmesh mesh in 19 of 20 pairs" in verdict(pairs_frame(records))[1]
    assert "all pairs in 1 of 2 trials" in verdict(pairs_frame(records))[1]
    out = io.StringIO()
    print_results(records, Console(file=out))
    assert "19/20 pairs, 1/2 trials" in out.getvalue()


def test_the_csv_counts_pairs_and_trials() -> None:
    summary = summarise(frame_of(mesh_of_five(), mesh_of_five("t2", frozenset(), repeat=1)))
    success = summary[summary["metric"] == "hole_punch_success"].set_index("over")
    assert (success.loc["runs", "n"] == 2).all() and len(success.loc["runs"]) == 10
    assert tuple(success.loc["pairs", ["n", "estimate", "src", "dst"]]) == (20, 0.95, "", "")
    assert tuple(success.loc["whole runs", ["n", "estimate"]]) == (2, 0.5)
    # 20 pairs of 2 trials tell less than 20 trials would.
    assert success.loc["pairs", "ci_low"] < 0.7
    rtt = summary[(summary["metric"] == "rtt_p50_ms") & (summary["over"] == "pairs")].set_index("path")
    # The one relayed pair is no part of what a direct path costs.
    assert tuple(rtt.loc["direct", ["n", "estimate"]]) == (19, 10.0)
    assert "range of 2 runs' medians" in rtt.loc["direct", "method"]
    assert rtt.loc["relayed", "n"] == 1


def test_a_rate_over_pairs_behind_different_nats_has_no_interval() -> None:
    """Nine pairs punch and one cannot, each time: 90 % is what was chosen, whatever the repeats."""
    nats = {"p1": "symmetric", "p2": "symmetric", "p3": "full-cone", "p4": "full-cone", "p5": "full-cone"}

    def known(record: Record) -> Record:
        return replace(record, pair={name: {"nat": nats[name]} for name in nats if name in (record.src, record.dst)})

    trials = [[known(one) for one in mesh_of_five(f"t{n}", repeat=n)] for n in range(6)]
    rows = summarise(frame_of(*trials))
    of_pairs = rows[(rows["metric"] == "hole_punch_success") & (rows["over"] == "pairs")].iloc[0]
    assert (of_pairs["n"], of_pairs["estimate"]) == (60, 0.9) and np.isnan(of_pairs["ci_low"])
    assert "behind 3 different pairs of NATs; no interval" in of_pairs["method"]
    whole = rows[(rows["metric"] == "hole_punch_success") & (rows["over"] == "whole runs")].iloc[0]
    assert (whole["estimate"], whole["n"]) == (0, 6) and whole["ci_high"] < 0.5


def test_no_warning_of_ours_reaches_who_loads_a_run() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(pairs_frame(frame_of([Maker().one("trial", "duration_s", "s", 9)]))) == 1


def test_a_trial_with_two_members_has_no_further_rows() -> None:
    records = records_frame([r.as_dict() for trial in Maker(full=True).campaign(2) for r in trial])
    assert set(summarise(records)["over"]) == {"runs"}


def test_a_row_a_trial_says_all() -> None:
    trial = trials_frame(frame_of(mesh_of_five())).iloc[0]
    assert (trial["path"], trial["pairs"], trial["pairs_direct"]) == ("9 direct, 1 relayed", 10, 9)
    assert (trial["hole_punch_success"], trial["connect_success"]) == (0, 1)
    figures = trial_figures(record.as_dict() for record in mesh_of_five())
    for metric in ("hole_punch_success", "time_to_direct_s"):
        assert figures[metric] == {"": trial[metric]}, metric
    assert np.isnan(trial["rtt_p50_ms"]) and np.isnan(trial["tcp_throughput_mbit"]), "no median between two paths"
    assert set(figures["rtt_p50_ms"]) == {"direct", "relayed"} and figures["rtt_p50_ms"]["direct"] == 10
    alike = mesh_of_five(relayed=frozenset())
    trial = trials_frame(frame_of(alike)).iloc[0]
    figures = trial_figures(record.as_dict() for record in alike)
    for metric in ("rtt_p50_ms", "tcp_throughput_mbit"):
        assert figures[metric] == {"direct": trial[metric]}, metric


def test_a_finished_trial_says_a_figure_for_each_of_its_paths() -> None:
    """Five pairs direct at 10 ms, five relayed at 50: 30 ms is no pair's."""
    maker = Maker()
    rows = []
    for number, (src, dst) in enumerate(combinations(MEMBERS, 2)):
        pair = {"src": src, "dst": dst, "path": "relayed" if number % 2 else "direct"}
        rows.append(maker.one("path", "connect_success", "1", 1, **pair))
        rows.append(maker.one("latency", "rtt_p50_ms", "ms", 50 if number % 2 else 10, **pair))
    rows.append(maker.one("trial", "duration_s", "s", 9))
    line = one_line(type("Trial", (), {"id": "t1"})(), rows)  # type: ignore[arg-type]
    assert "RTT 10.00 ms direct, RTT 50.00 ms relayed" in line and "30.00" not in line
    assert np.isnan(trials_frame(frame_of(rows))["rtt_p50_ms"].iloc[0])


@pytest.mark.parametrize(
    ("mbit", "said"), [(0.0096, "0.0096"), (0.414, "0.41"), (9.7, "9.7"), (937.2, "937"), (12345.6, "12346")]
)
def test_a_slow_path_is_not_said_to_carry_nothing(mbit: float, said: str) -> None:
    rows = [Maker().one("throughput", "tcp_throughput_mbit", "Mbit/s", mbit, src="a", dst="b", path="direct")]
    assert f", {said} Mbit/s" in one_line(type("Trial", (), {"id": "t1"})(), rows)  # type: ignore[arg-type]


def test_what_a_whole_trial_costs_is_no_pairs_where_paths_differ() -> None:
    mixed = pairs_frame(frame_of(mesh_of_five()))
    assert list(mixed.loc[mixed["server_bytes_per_byte"].notna(), "path"]) == [SEVERAL]
    alike = pairs_frame(frame_of(mesh_of_five(relayed=frozenset())))
    assert list(alike.loc[alike["server_bytes_per_byte"].notna(), "path"]) == ["direct"] and len(alike) == 10


def test_each_pair_has_the_nats_in_front_of_its_two_members() -> None:
    nats = dict(zip(MEMBERS, ("symmetric", "full-cone", "full-cone", "symmetric", "full-cone"), strict=True))
    facts = {name: {"nat": nat} for name, nat in nats.items()}
    rows = pairs_frame(frame_of([replace(record, pair=facts) for record in mesh_of_five()]))
    counts = rows.groupby(["nat_a", "nat_b"]).size().to_dict()
    assert counts.pop((SEVERAL, SEVERAL)) == 1, "the row of the whole trial"
    assert counts == {
        ("full-cone", "full-cone"): 3,
        ("full-cone", "symmetric"): 6,
        ("symmetric", "symmetric"): 1,
    }


def mixed_nats() -> pd.DataFrame:
    """Five members, two of them behind symmetric NATs, which do not reach each other."""
    nats = dict(zip(MEMBERS, ("symmetric", "full-cone", "full-cone", "symmetric", "full-cone"), strict=True))
    facts = {name: {"nat": nat} for name, nat in nats.items()}
    records = mesh_of_five(relayed=frozenset({("p1", "p4")}), nat_a=None, nat_b=None, nat_a_observed="APDM/APDF/random")
    return frame_of([replace(record, pair=facts) for record in records])


def test_pairs_of_different_nats_are_counted_alike_everywhere() -> None:
    rows = pairs_frame(mixed_nats())
    (direct, relayed) = overview(rows).rows
    assert (direct[3], relayed[3]) == ("9 direct", "1 relayed") and direct[1] == "9/10 pairs, 0/1 trials"
    assert "9 of 10 pairs" in verdict(rows)[1] and "all pairs in 0 of 1 trials" in verdict(rows)[1]
    assert [row[:2] for row in path_matrix(rows).rows] == [
        ("full-cone x full-cone", "direct"),
        ("full-cone x symmetric", "direct"),
        ("symmetric x symmetric", "relayed"),
    ], "what the whole trial measured has no NATs of its own"
    matrix = matrix_of(rows, "refmesh", "mesh")
    assert matrix is not None and set(matrix.cells) == {
        ("full-cone", "full-cone"),
        ("full-cone", "symmetric"),
        ("symmetric", "symmetric"),
    }
    trial = trials_frame(mixed_nats()).iloc[0]
    assert (trial["nat_a"], trial["nat_b"], trial["path"]) == (SEVERAL, SEVERAL, "9 direct, 1 relayed")
    summary = summarise(mixed_nats())
    success = summary[summary["metric"] == "hole_punch_success"].set_index("over")["estimate"]
    assert (success["pairs"], success["whole runs"]) == (0.9, 0.0)


def test_a_nat_that_no_label_declares_is_the_one_that_was_observed() -> None:
    records = [replace(r, nat_a=None, nat_b=None, nat_a_observed="symmetric") for r in mesh_of_five()]
    rows = pairs_frame(frame_of(records))
    assert set(rows["nat_a"]) == {"symmetric"} and set(rows["nat_b"]) == {""}


def carriers(with_labels: bool) -> pd.DataFrame:
    trials = []
    for nat, relayed in (("full-cone", frozenset()), ("symmetric", frozenset(combinations(MEMBERS, 2)))):
        more: dict[str, Any] = {"params": {"nat_carrier": nat}}
        if with_labels:
            more["nat_a"] = f"port-restricted+{nat}"
        trials.append(mesh_of_five(f"t-{nat}", relayed, **more))
    return frame_of(*trials)


def test_what_no_label_tells_is_a_condition_of_its_own() -> None:
    """Three values of `nat_carrier` were one row, "2/3 relayed", and an interval over them."""
    rows = pairs_frame(carriers(with_labels=False))
    labels = condition_labels(rows)
    assert set(labels) == {"nat_carrier=full-cone", "nat_carrier=symmetric"}
    assert labels.groupby(rows["trial"]).nunique().eq(1).all()
    out = io.StringIO()
    print_results(carriers(with_labels=False), Console(file=out))
    assert "Overlays: nat_carrier=full-cone" in out.getvalue() and "0/10 pairs, 0/1 trials" in out.getvalue()


def test_what_the_labels_tell_is_a_row_and_no_condition() -> None:
    rows = pairs_frame(carriers(with_labels=True))
    assert set(condition_labels(rows)) == {""}
    assert {row[0] for row in path_matrix(rows).rows} == {
        "port-restricted+full-cone x port-restricted",
        "port-restricted+symmetric x port-restricted",
    }


def test_phases_are_never_pooled() -> None:
    phases = [replace(r, phase=f"{when} server-down") for when in ("before", "after") for r in mesh_of_five()[1:-1]]
    slower = [
        replace(r, value=30.0) if r.metric == "rtt_p50_ms" and r.phase == "after server-down" else r for r in phases
    ]
    records = frame_of([mesh_of_five()[0], *slower, mesh_of_five()[-1]])
    rows = pairs_frame(records)
    assert set(condition_labels(rows)) == {"before server-down", "after server-down"}
    assert rows.groupby("phase")["rtt_p50_ms"].median().to_dict() == {"after server-down": 30, "before server-down": 10}
    later = [replace(r, path="direct") if r.metric == "connect_success" else r for r in slower]
    records = frame_of([mesh_of_five()[0], *later, mesh_of_five()[-1]])
    assert trials_frame(records)["rtt_p50_ms"].iloc[0] == 10, "of the first phase"
    summary = summarise(records)
    assert set(summary.loc[summary["metric"] == "rtt_p50_ms", "phase"]) == {"before server-down", "after server-down"}


@pytest.mark.parametrize("order", [1, -1])
def test_both_ways_are_one_pair_in_the_order_of_the_path_probe(order: int) -> None:
    rows = pairs_frame(frame_of([*mesh_of_five()[:-1][::order], mesh_of_five()[-1]]))
    assert len(rows[rows["src"] != ""]) == 10
    assert set(zip(rows["src"], rows["dst"], strict=True)) >= set(combinations(MEMBERS, 2))
