"""The cost probe: CPU time and memory of an overlay's processes while the throughput probe loads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from harness.probes.contract import Column, Measurement, Metric, Plot, Shown, Table

if TYPE_CHECKING:
    from harness.lab.process import Usage
    from harness.probes.throughput import Throughput

COST_METRICS = (
    Metric(
        "cpu_s_per_gb",
        "s/GB",
        "CPU time of the overlay's processes at both ends and between per 10^9 bytes of goodput.",
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
)

COST_SHOWN = Shown(
    tables=(
        Table(
            "cost",
            "What a useful byte costs",
            "throughput",
            "For each byte of TCP goodput: what the members' sites, and the server, send over the outermost segment; "
            "CPU time of the overlay's processes; the largest resident memory of a node.",
        ),
    ),
    columns=(
        Column("cost", "underlay B/B", "underlay_bytes_per_byte", digits=3),
        Column("cost", "packets/MB", "underlay_packets_per_mb", digits=0),
        Column("cost", "server B/B", "server_bytes_per_byte", digits=3),
        Column("cost", "CPU s/GB", "cpu_s_per_gb", digits=1),
        Column("cost", "memory MiB", "rss_mib", digits=0),
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
        Plot("strip", "throughput", "cpu_s_per_gb", "CPU time", "CPU seconds per gigabyte"),
        Plot("strip", "throughput", "rss_mib", "Memory", "largest resident memory of a node (MiB)"),
    ),
)


def moved_bytes(results: Iterable[Throughput], seconds: float) -> float:
    """TCP payload that crossed the overlay, both ways; the omitted seconds count at the rate of the measured ones.

    Args:
        results: of all pairs.
        seconds: how long each direction was loaded, the omitted seconds included.
    """
    return sum((one.forward_mbit + one.backward_mbit + sum(one.both or ())) * 1e6 / 8 * seconds for one in results)


def summarise_cost(before: Mapping[str, Usage], after: Mapping[str, Usage], moved: float) -> Iterator[Measurement]:
    """CPU seconds of all nodes per 10^9 bytes of goodput, and the most memory that one node needed (proc(5), VmHWM).

    Only processes are counted. Nothing is said where they used no time at all: the kernel did the work then, and its
    time is not the overlay's processes'.

    Args:
        before: usage by node when the load began.
        after: the same when it ended.
        moved: bytes of goodput in between.
    """
    spent_s = sum(used.cpu_s - (before[node].cpu_s if node in before else 0.0) for node, used in after.items())
    if spent_s > 0 and moved > 0:
        yield Measurement(probe="cost", metric="cpu_s_per_gb", unit="s/GB", value=spent_s / (moved / 1e9))
    if after:
        most = max(used.rss_mib for used in after.values())
        yield Measurement(probe="cost", metric="rss_mib", unit="MiB", value=most)
