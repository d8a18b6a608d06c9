"""Tables of what few runs measure: idle overlays, whole meshes, times from readiness, what TCP sent again."""

from __future__ import annotations

import re
from typing import Any

import pytest
from result_samples import Maker

from harness.report.measured import all_tables
from harness.report.tables import TextTable
from harness.results.frame import records_frame
from harness.results.metrics import METRICS, shown
from harness.results.pairs import pairs_frame

ENDS = (("p", "q"), ("p", "r"), ("q", "r"))
FIGURES: dict[str, tuple[str, float | None]] = {
    "idle_bytes_per_s": ("idle", 12.34),
    "idle_packets_per_s": ("idle", 0.25),
    "keepalive_interval_s": ("idle", 25.0),
    "idle_cpu_percent": ("idle", 0.5),
    "idle_cpu_percent_per_peer": ("idle", 0.25),
    "idle_rss_mib": ("idle", 21.0),
    "rss_mib": ("cost", 30.0),
    "rss_per_peer_mib": ("cost", 15.5),
    "time_to_full_mesh_s": ("path", 3.25),
    "time_to_direct_mesh_s": ("path", None),
}
IDLE = {"B/s": "12.3", "packets/s": "0.25", "keepalive (s)": "25.0", "CPU %": "0.50", "CPU % per peer": "0.25"}
CELLS = {
    "Cost of an idle overlay": IDLE | {"memory (MiB)": "21"},
    "Cost of a useful byte": {"memory (MiB)": "30", "memory per peer (MiB)": "15.5"},
    "Time until the whole mesh is connected": {"all connected after (s)": "3.25", "all direct after (s)": ">15"},
    "Time from readiness": {"connected after (s)": "1.25", "direct after (s)": "late"},
    "TCP retransmissions": {"retransmissions": "7"},
}


def tables(without: frozenset[str] = frozenset()) -> dict[str, TextTable]:
    """Return the tables of six trials of three members; of each trial two pairs are relayed."""
    maker = Maker()
    rows: list[dict[str, Any]] = []
    for repeat in range(6):
        same = {"trial": f"t{repeat}", "repeat": repeat, "seed": repeat}
        bound = {"params": {"deadline_s": 15}}
        found = []
        for number, (src, dst) in enumerate(ENDS):
            pair = same | {"src": src, "dst": dst, "path": "relayed" if number else "direct"}
            late = None if number else 1.5
            found += [
                maker.one("path", "connect_success", "1", 1, **pair | bound),
                maker.one("path", "ready_to_connect_s", "s", 1.25, **pair | bound),
                maker.one("path", "ready_to_direct_s", "s", late, **pair | bound),
                maker.one("throughput", "tcp_retransmissions", "count", 4, **pair),
                maker.one("throughput", "tcp_retransmissions", "count", 10, **pair | {"src": dst, "dst": src}),
            ]
        found += [
            maker.one(probe, metric, METRICS[metric].unit, value, **same | bound)
            for metric, (probe, value) in FIGURES.items()
        ]
        rows += [one.as_dict() for one in found if one.metric not in without]
        rows.append(maker.one("trial", "duration_s", "s", 5, **same).as_dict())
    return {table.title: table for table in all_tables(pairs_frame(records_frame(rows)))}


@pytest.mark.parametrize("title", CELLS)
def test_what_was_measured_has_a_table(title: str) -> None:
    table = tables()[title]
    for row in table.rows:
        said = dict(zip(table.header, row, strict=True))
        assert {name: said[name] for name in CELLS[title]} == CELLS[title]
    rows = {"TCP retransmissions": 2}  # what paths cost has a row for each
    assert len(table.rows) == rows.get(title, 1)


def test_what_was_not_measured_has_none() -> None:
    gone = frozenset({*FIGURES, "ready_to_connect_s", "ready_to_direct_s", "tcp_retransmissions"})
    assert not set(CELLS) & set(tables(gone))


# Where else they are to be seen.
ELSEWHERE = {
    r"^(duration_s|trial_success|lab_start_s|nat_check_s|fixed_overhead_s|link_lateness_p99_us)$": "quality",
    r"^repeated_measurements$": "quality",
    r"^(rtt_(min|p95|p99|p999|max)_ms|ipdv_p50_ms|pdv_p999?_ms|(loaded|stream)_rtt_p99_ms)$": "the distributions",
    r"^(oneway_)?loss_ratio$": "the distributions, whose lines end below 1",
    r"underlay_": "the underlay's own row",
    r"^(chatty|mixed|bulk)_": "the chapter on what a hub costs",
    r"^mpyc_.*_(runs|sent_bytes)$": "what makes the times of the same table",
}


def test_every_other_metric_is_a_column_or_a_plot() -> None:
    seen = {one.metric for each in shown().values() for one in (*each.columns, *each.plots)}
    unseen = [name for name in METRICS if name not in seen and not any(re.search(key, name) for key in ELSEWHERE)]
    assert unseen == [
        *("time_to_ready_s", "content_last_byte_s", "tcp_received_bytes", "tcp_sent_bytes", "concurrent_tcp_share"),
        *("phase_lost", "phase_duplicates", "phase_reordered", "continuity_duplicates", "continuity_reordered"),
        *("event_late_ms", "coasted_s", "rounds_per_s"),
    ], "these are in records and summary.csv; anything new needs a column"
