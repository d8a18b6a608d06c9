"""The cost probe: CPU time and memory of an overlay's processes while the throughput probe loads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.probes.contract import Measurement
from harness.probes.measurement import figure_of
from harness.results.declared import Column, Metric, Plot, Shown, Table

if TYPE_CHECKING:
    from harness.probes.steady import Window

COST_METRICS = (
    Metric(
        "cpu_s_per_gb",
        "s/GB",
        "CPU time of the overlay's processes on all nodes (both ends and between), per 10^9 bytes of goodput.",
        "this project",
        better="lower",
        in_tables=True,
    ),
    Metric(
        "rss_mib",
        "MiB",
        "Largest resident memory of the overlay's processes on one node.",
        "proc(5), VmHWM",
        better="lower",
        min_absolute=2.0,
        in_tables=True,
    ),
    Metric(
        "rss_per_peer_mib",
        "MiB",
        "Largest resident memory of the overlay's processes on one node, per other member.",
        "proc(5), VmHWM",
        better="lower",
        min_absolute=1.0,
        in_tables=True,
    ),
)

COST_SHOWN = Shown(
    tables=(
        Table(
            "cost",
            "Cost of a useful byte",
            "throughput",
            "Per byte of TCP goodput: bytes that the members' sites and the server send over the outermost segment; "
            "CPU time of the overlay's processes. Memory: the largest resident memory on one node, and the same per "
            "peer. Uncertainty: about how far the bytes per byte may be off, because the amount of data in flight "
            "changed; above 2 % the load was too short or not yet steady.",
        ),
    ),
    columns=(
        Column("cost", "underlay bytes/byte", "underlay_bytes_per_byte", digits=3),
        Column("cost", "packets/MB", "underlay_packets_per_mb", digits=0),
        Column("cost", "server bytes/byte", "server_bytes_per_byte", digits=3),
        Column("cost", "uncertainty", "tcp_edge_ratio", "percent"),
        Column("cost", "CPU (s/GB)", "cpu_s_per_gb", digits=1),
        Column("cost", "memory (MiB)", "rss_mib", digits=0),
        Column("cost", "memory per peer (MiB)", "rss_per_peer_mib", digits=1),
    ),
    plots=(
        Plot(
            "strip",
            "throughput",
            "underlay_bytes_per_byte",
            "Bytes on the underlay",
            "bytes sent by the sites per useful byte",
        ),
        Plot(
            "strip",
            "throughput",
            "underlay_packets_per_mb",
            "Packets on the underlay",
            "packets sent by the sites per useful MB",
        ),
        Plot("strip", "throughput", "server_bytes_per_byte", "Bytes that the server sends", "bytes per useful byte"),
        Plot("strip", "throughput", "cpu_s_per_gb", "CPU time per gigabyte", "CPU time per gigabyte (s)"),
        Plot("strip", "throughput", "rss_mib", "Memory", "largest resident memory of a node (MiB)"),
    ),
)


def summarise_cost(windows: Sequence[Window], evidence: str, peers: int) -> Iterator[Measurement]:
    """Yield CPU seconds of all nodes per 10^9 bytes of goodput, and the most memory one node needed (proc(5), VmHWM).

    Only processes are counted. Nothing is said of CPU where they used no time at all: the kernel did the work then, and
    its time is not the overlay's processes'.

    Args:
        windows: the steady parts of all loads.
        evidence: the file with their readings.
        peers: how many other members each member has.
    """
    figure = figure_of(None, "cost", evidence)
    spent_s = sum(window.cpu_s for window in windows)
    moved = sum(window.moved_bytes for window in windows)
    if spent_s > 0 and moved > 0:
        yield figure("cpu_s_per_gb", spent_s / (moved / 1e9))
    needed = [used.rss_mib for window in windows for used in window.after.usage.values()]
    if needed:
        yield figure("rss_mib", max(needed))
        yield figure("rss_per_peer_mib", max(needed) / max(1, peers))
