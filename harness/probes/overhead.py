"""What the underlay has to carry for each useful byte, as counted by the links, not by the overlay."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.probes.contract import Measurement
from harness.probes.exits import sent_over
from harness.probes.measurement import figure_of
from harness.results.declared import Metric

if TYPE_CHECKING:
    from harness.link.accounting import DirectionCounts
    from harness.probes.steady import Window

OVERHEAD_METRICS = (
    Metric(
        "underlay_bytes_per_byte",
        "B/B",
        "IP bytes that the members' sites sent over the outermost segment per byte of TCP goodput.",
        "this project",
        better="lower",
        min_effect=0.02,
        in_tables=True,
    ),
    Metric(
        "underlay_packets_per_mb",
        "1/MB",
        "Packets that the members' sites sent over the outermost segment per 10^6 bytes of TCP goodput.",
        "this project",
        better="lower",
        in_tables=True,
    ),
    Metric(
        "server_bytes_per_byte",
        "B/B",
        "IP bytes that the server (relay, hub) sent per byte of TCP goodput.",
        "this project",
        better="lower",
        min_effect=0.02,
        in_tables=True,
    ),
    Metric(
        "tcp_edge_ratio",
        "1",
        "Change of the payload in flight (sent, not yet received) between the two readings of a load, divided by "
        "the payload moved between them: about how far the bytes on the underlay per byte may be off.",
        "this project",
        in_tables=True,
    ),
)


def summarise_edge(windows: Sequence[Window], evidence: str) -> Iterator[Measurement]:
    """Yield by how much the payload under way at the readings makes the cost of a byte wrong, as a share of it."""
    edges = [window.edge_bytes for window in windows]
    known = [edge for edge in edges if edge is not None]
    moved = sum(window.moved_bytes for window in windows)
    if moved > 0 and len(known) == len(edges):
        yield figure_of(None, "cost", evidence)("tcp_edge_ratio", abs(sum(known)) / moved)


def carried_in(windows: Iterable[Window]) -> dict[str, dict[str, DirectionCounts]]:
    """Return what each link carried in all windows together; frames and bytes that were sent, nothing else."""
    total: dict[str, dict[str, DirectionCounts]] = {}
    for window in windows:
        for link, ways in window.carried.counts.items():
            for way, one in ways.items():
                sofar = total.setdefault(link, {}).get(way)
                sent, octets = (sofar.sent, sofar.sent_bytes) if sofar else (0, 0)
                total[link][way] = replace(one, sent=sent + one.sent, sent_bytes=octets + one.sent_bytes)
    return total


def summarise_overhead(
    carried: Mapping[str, Mapping[str, DirectionCounts]],
    moved: float,
    *,
    members: Collection[str],
    server: Collection[str],
    evidence: str | None = None,
) -> Iterator[Measurement]:
    """Yield what members' sites and server sent over the outermost segment per byte of goodput, all pairs together.

    Acknowledgements, keepalives and what is sent again are in it; what stays within a site is not.

    Args:
        carried: what each impaired link carried while the load ran, as in `Accounting.counts`.
        moved: bytes of goodput in the same time, all directions.
        members: the links by which the members' sites reach the outermost segment, *up* is towards it. With one of
            them unknown to `carried`, because nothing is in its path, nothing is said.
        server: the same of the server.
        evidence: the file with the readings.
    """
    if moved <= 0:
        return
    figure = figure_of(None, "cost", evidence)
    if (sent := sent_over(carried, members)) is not None:
        yield figure("underlay_bytes_per_byte", sent[0] / moved)
        yield figure("underlay_packets_per_mb", sent[1] / (moved / 1e6))
    if (sent := sent_over(carried, server)) is not None:
        yield figure("server_bytes_per_byte", sent[0] / moved)
