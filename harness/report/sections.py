"""Gathers what the page shows of one condition: tables, matrices and plots."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.report.measured import load_table, overhead_table, size_table
from harness.report.order import subject_name
from harness.report.plots.figure import Drawn, Plot, save
from harness.report.plots.heatmap import Matrix, heatmap_plot, labels, matrix_of, shade
from harness.report.plots.latency import latency_plots
from harness.report.plots.strips import strip_plot
from harness.report.plots.style import Look, Style
from harness.report.plots.times import time_plot
from harness.report.tables import TextTable, groups, overview, path_matrix

# Conditions beyond these get their tables but no plots: drawing takes about a quarter of a second each.
MOST_DRAWN = 6


BOTH_WAYS = "The mean of both directions."


@dataclass(frozen=True)
class Samples:
    """Round trips of a run: alone (`Results.rtt_samples`) and beside TCP (`Results.loaded_rtt_samples`)."""

    idle: pd.DataFrame
    loaded: pd.DataFrame


@dataclass(frozen=True)
class MatrixCell:
    """A cell of a matrix as the page shows it; `text` is empty where the pair was not tried."""

    text: str = ""
    interval: str = ""
    paths: str = ""
    colour: str = ""
    few: bool = False
    left_out: int = 0


@dataclass(frozen=True)
class MatrixTable:
    """A NAT x NAT matrix as an HTML table."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[MatrixCell]]]


@dataclass(frozen=True)
class Section:
    """One condition of the run; `label` is empty when there is only one. Tables of probes that did not run are None."""

    label: str
    overview: TextTable
    paths: TextTable
    load: TextTable | None
    sizes: TextTable | None
    overhead: TextTable | None
    matrices: list[MatrixTable]
    plots: dict[str, list[Drawn]]


def section_of(
    label: str,
    trials: pd.DataFrame,
    samples: Samples,
    look_of: dict[tuple[str, str], Look],
    *,
    folder: Path | None,
    style: Style,
    suffix: str,
) -> Section:
    """The section for these trials; without a folder nothing is drawn."""
    matrices = []
    for (overlay, mode), group in groups(trials):
        matrix = matrix_of(group, overlay, mode) if overlay != "underlay" else None
        if matrix is not None:
            matrices.append(matrix)
    drawn: dict[str, list[Drawn]] = {}
    if folder is not None:
        for kind, plots in _plots(trials, samples, matrices, look_of, suffix).items():
            drawn[kind] = [save(plot, folder, style) for plot in plots]
    return Section(
        label,
        overview(trials),
        path_matrix(trials),
        load_table(trials),
        size_table(trials),
        overhead_table(trials),
        [_table(matrix) for matrix in matrices],
        drawn,
    )


def _plots(
    trials: pd.DataFrame,
    samples: Samples,
    matrices: list[Matrix],
    look_of: dict[tuple[str, str], Look],
    suffix: str,
) -> dict[str, list[Plot]]:
    def strip(metric: str, title: str, label: str, caption: str = "") -> list[Plot]:
        return strip_plot(trials, metric, look_of, title=title, label=label, caption=caption, suffix=suffix)

    return {
        "matrix": [heatmap_plot(matrix, suffix) for matrix in matrices],
        "times": [
            *time_plot(trials, "time_to_direct_s", look_of, title="Time to a direct path", suffix=suffix),
            *time_plot(trials, "time_to_connect_s", look_of, title="Time to the first answer", suffix=suffix),
        ],
        "latency": [
            *latency_plots(samples.idle, trials, look_of, suffix),
            *strip("added_rtt_p50_ms", "Added round-trip time", "median RTT minus the underlay's (ms)"),
            *strip("owd_p50_ms", "One-way delay", "median delay of one way (ms)", f"{BOTH_WAYS} One clock."),
        ],
        "loaded": [
            *latency_plots(samples.loaded, trials, look_of, suffix, loaded=True),
            *strip("rtt_rise_p50_ms", "Rise of the round-trip time under load", "median under load minus idle (ms)"),
        ],
        "throughput": [
            *strip("tcp_throughput_mbit", "TCP throughput", "Mbit/s", BOTH_WAYS),
            *strip("tcp_throughput_ratio", "TCP throughput against the underlay", "share of the underlay's"),
            *strip("tcp_throughput_both_mbit", "TCP throughput, both ways at once", "Mbit/s", BOTH_WAYS),
            *strip("udp_goodput_mbit", "UDP goodput without loss", "Mbit/s of payload", BOTH_WAYS),
        ],
        "sizes": strip("path_mtu_bytes", "Largest packet carried", "bytes of IPv4 packet", "The smaller way's."),
        "cost": [
            *strip("underlay_bytes_per_byte", "Bytes on the underlay", "bytes sent by the sites per useful byte"),
            *strip("underlay_packets_per_mb", "Packets on the underlay", "packets sent by the sites per useful MB"),
            *strip("server_bytes_per_byte", "Bytes that the server sends", "bytes per useful byte"),
            *strip("cpu_s_per_gb", "CPU time", "CPU seconds per gigabyte"),
            *strip("rss_mib", "Memory", "largest resident memory of a node (MiB)"),
        ],
        "quality": strip(
            *("link_lateness_p99_us", "Link emulator: lateness", "later than due, 99th percentile (us)"),
            "Over whole trials, invalid ones and measurements that were taken anew included.",
        ),
    }


def _table(matrix: Matrix) -> MatrixTable:
    rows = []
    for nat_a, name in zip(matrix.nats_a, labels(matrix.nats_a), strict=True):
        cells = []
        for nat_b in matrix.nats_b:
            cell = matrix.cells.get((nat_a, nat_b))
            if cell is None:
                cells.append(MatrixCell())
            elif not cell.n:
                cells.append(MatrixCell("-", colour=shade(float("nan")), few=True, left_out=cell.left_out))
            else:
                cells.append(
                    MatrixCell(
                        f"{cell.k}/{cell.n}",
                        f"{100 * cell.low:.0f} to {100 * cell.high:.0f} %",
                        ", ".join(cell.paths),
                        shade(cell.k / cell.n),
                        cell.few,
                        cell.left_out,
                    )
                )
        rows.append((name, cells))
    return MatrixTable(subject_name(matrix.overlay, matrix.mode), labels(matrix.nats_b), rows)
