"""Tables of what only some scenarios measure: rates and delay under load, packet sizes, what the underlay carries."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from harness.report.order import subject_name
from harness.report.tables import (
    NOTHING,
    PATHS,
    TextTable,
    counted,
    groups,
    k_of_n,
    middle,
    overview,
    path_matrix,
    percent,
)
from harness.results.conditions import condition_labels

Column = tuple[str, Callable[[pd.DataFrame], str]]


def all_tables(trials: pd.DataFrame) -> list[TextTable]:
    """Every table that these trials fill, the overview first."""
    paths = path_matrix(trials)
    rare = (path_table(trials), load_table(trials), size_table(trials), overhead_table(trials))
    return [
        overview(trials),
        *([paths] if len(paths.header) > 1 else []),  # the underlay alone has no column there
        *(table for table in rare if table is not None),
    ]


def tables_by_condition(trials: pd.DataFrame) -> list[tuple[str, list[TextTable]]]:
    """The tables of each condition (topology, links, other parameters) with its label, empty where there is but one."""
    labels = condition_labels(trials)
    return [(name, all_tables(trials[labels == name])) for name in sorted(set(labels))]


def path_table(trials: pd.DataFrame) -> TextTable | None:
    """A row per subject and path; None where each subject had one path, and the overview says it all."""
    rows = []
    for subject, group in groups(counted(trials[trials["overlay"] != "underlay"])):
        for path in PATHS:
            part = group[group["path"] == path]
            if len(part):
                rows.append(
                    (
                        f"{subject_name(*subject)}, {path}",
                        str(len(part)),
                        middle(part["time_to_connect_s"], part["deadline_s"]),
                        middle(part["added_rtt_p50_ms"], digits=1),
                        middle(part["tcp_throughput_mbit"], digits=1),
                        percent(part["tcp_throughput_ratio"]),
                    )
                )
    if len(rows) == len({row[0].rsplit(", ", 1)[0] for row in rows}):
        return None
    return TextTable(
        "Overlays by path",
        ("overlay, path", "trials", "connect s", "added RTT ms", "TCP Mbit/s", "TCP share"),
        tuple(rows),
        frozenset(range(1, 6)),
        "A median over direct and relayed trials together lies where no trial was; here they are apart.",
    )


def load_table(trials: pd.DataFrame) -> TextTable | None:
    """Rates beyond plain TCP, and what queues do to the delay; None where nothing of it was measured."""
    return _table(
        trials,
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


def size_table(trials: pd.DataFrame) -> TextTable | None:
    """MTU offered and carried, and black holes; None where it was not measured."""
    return _table(
        trials,
        "MTU offered and carried",
        [
            ("MTU offered", _median("offered_mtu_bytes", 0)),
            ("carried", _median("path_mtu_bytes", 0)),
            ("black holes", lambda group: k_of_n(group["pmtu_black_hole"])),
        ],
        "Bytes of IPv4 packet, the smaller way's. A black hole: what the interface takes vanishes for its size, "
        "without an error.",
    )


def overhead_table(trials: pd.DataFrame) -> TextTable | None:
    """What a useful byte costs network and processors; None where it was not measured."""
    return _table(
        trials,
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


def _table(trials: pd.DataFrame, title: str, columns: Sequence[Column], note: str) -> TextTable | None:
    """A row per subject; columns that nobody fills are left out."""
    found = [(subject_name(*subject), [text(group) for _, text in columns]) for subject, group in groups(trials)]
    filled = [index for index in range(len(columns)) if any(cells[index] != NOTHING for _, cells in found)]
    if not filled:
        return None
    return TextTable(
        title,
        ("overlay", *(columns[index][0] for index in filled)),
        tuple((name, *(cells[index] for index in filled)) for name, cells in found),
        frozenset(range(1, len(filled) + 1)),
        note,
    )
