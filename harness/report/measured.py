"""Tables of what only some scenarios measure: rates and delay under load, packet sizes, what the underlay carries."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from harness.report.order import subject_name
from harness.report.tables import (
    NOTHING,
    TextTable,
    groups,
    k_of_n,
    middle,
    overview,
    path_groups,
    path_matrix,
    percent,
)
from harness.results.conditions import condition_labels

Column = tuple[str, Callable[[pd.DataFrame], str]]


def all_tables(rows: pd.DataFrame) -> list[TextTable]:
    """Return every table that these rows (of `pairs_frame`) fill, the overview first."""
    paths = path_matrix(rows)
    rare = (load_table(rows), size_table(rows), overhead_table(rows))
    return [
        overview(rows),
        *([paths] if len(paths.header) > 1 else []),  # the underlay alone has no column there
        *(table for table in rare if table is not None),
    ]


def tables_by_condition(rows: pd.DataFrame) -> list[tuple[str, list[TextTable]]]:
    """Return the tables of each condition (`condition_labels`) with its label, empty where there is but one."""
    labels = condition_labels(rows)
    return [(name, all_tables(rows[labels == name])) for name in sorted(set(labels))]


def load_table(rows: pd.DataFrame) -> TextTable | None:
    """Rates beyond plain TCP, and what queues do to the delay; None where nothing of it was measured."""
    return _table(
        rows,
        "Delay and rates under load",
        [
            ("RTT ms", _median("loaded_rtt_p50_ms", 1)),
            ("its p95 ms", _median("loaded_rtt_p95_ms", 1)),
            ("rise ms", _median("rtt_rise_p50_ms", 1)),
            ("lost", lambda group: percent(group["loaded_loss_ratio"])),
            ("TCP both ways Mbit/s", _median("tcp_throughput_both_mbit", 1)),
            ("UDP Mbit/s", _median("udp_goodput_mbit", 1)),
        ],
        "RTT beside TCP in both directions; rise: over the idle median of the same trial. UDP: payload at the highest "
        "rate without loss, or with what the scenario allows.",
    )


def size_table(rows: pd.DataFrame) -> TextTable | None:
    """MTU offered and carried, and black holes; None where it was not measured."""
    return _table(
        rows,
        "MTU offered and carried",
        [
            ("MTU offered", _median("offered_mtu_bytes", 0)),
            ("carried", _median("path_mtu_bytes", 0)),
            ("black holes", lambda group: k_of_n(group["pmtu_black_hole"])),
        ],
        "Bytes of IPv4 packet, the smaller way's. A black hole: what the interface takes vanishes for its size, "
        "without an error.",
    )


def overhead_table(rows: pd.DataFrame) -> TextTable | None:
    """What a useful byte costs network and processors; None where it was not measured."""
    return _table(
        rows,
        "What a useful byte costs",
        [
            ("underlay B/B", _median("underlay_bytes_per_byte", 3)),
            ("packets/MB", _median("underlay_packets_per_mb", 0)),
            ("server B/B", _median("server_bytes_per_byte", 3)),
            ("CPU s/GB", _median("cpu_s_per_gb", 1)),
            ("memory MiB", _median("rss_mib", 0)),
        ],
        "For each byte of TCP goodput: what the members' sites, and the server, send over the outermost segment; CPU "
        "time of the overlay's processes; the largest resident memory of a node.",
    )


def _median(metric: str, digits: int) -> Callable[[pd.DataFrame], str]:
    return lambda group: middle(group[metric], digits=digits)


def _table(rows: pd.DataFrame, title: str, columns: Sequence[Column], note: str) -> TextTable | None:
    """A row per subject and path; columns that nobody fills are left out, and so are rows without any figure."""
    found = []
    for subject, group in groups(rows):
        name = subject_name(*subject)
        parts = [(path, [text(part) for _, text in columns]) for path, part in path_groups(group)]
        filled = [(path, cells) for path, cells in parts if any(cell != NOTHING for cell in cells)] or parts[:1]
        found += [(f"{name}, {path}" if len(filled) > 1 else name, cells) for path, cells in filled]
    kept = [index for index in range(len(columns)) if any(cells[index] != NOTHING for _, cells in found)]
    if not kept:
        return None
    return TextTable(
        title,
        ("overlay", *(columns[index][0] for index in kept)),
        tuple((name, *(cells[index] for index in kept)) for name, cells in found),
        frozenset(range(1, len(kept) + 1)),
        note,
    )
