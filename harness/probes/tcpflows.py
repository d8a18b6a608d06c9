"""TCP flows as iperf3 counted them at both ends, and the throughput probe's figures of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.probes.contract import Measurement, Target
from harness.probes.measurement import figure_of
from harness.probes.steady import Window


@dataclass(frozen=True)
class Flow:
    """One direction of a run: Mbit/s and bytes that the receiver got, bytes and repeated segments of the sender.

    `segments_again` is None where the sender's kernel does not tell.
    """

    mbit: float
    received_bytes: float
    sent_bytes: float | None
    segments_again: int | None


@dataclass(frozen=True)
class Throughput:
    """Each way alone; `both` has the two directions of the run that filled both.

    `windows` are the steady part of each; `tool` is what measured it.
    """

    forward: Flow
    backward: Flow
    both: tuple[Flow, Flow] | None = None
    windows: tuple[Window, ...] = ()
    tool: str = "iperf3"


def parse_iperf3(result: dict[str, Any], suffix: str = "") -> Flow | None:
    """Return what both sides counted over the measured seconds; None when the receiver's figures were lost on the way.

    Args:
        result: iperf3's JSON.
        suffix: `_bidir_reverse` for the way back of a run with both.
    """
    end = result.get("end", {})
    received, sent = end.get(f"sum_received{suffix}"), end.get(f"sum_sent{suffix}", {})
    if received is None:
        return None
    got = float(received.get("bytes", 0))
    again = sent.get("retransmits")
    return Flow(float(received["bits_per_second"]) / 1e6, got, float(sent.get("bytes", 0)), again)


def summarise_throughput(target: Target, overlay: Throughput, underlay: Throughput | None) -> list[Measurement]:
    """Return a figure for each direction, with the underlay's and the ratio of the two."""
    both = overlay.both or (None, None)
    below = (None, None) if underlay is None else (underlay.forward, underlay.backward)
    files = {
        way: (
            target.evidence(f"{overlay.tool}-{way}.json"),
            target.evidence(f"{'iperf3' if underlay is None else underlay.tool}-{way}.json", "underlay"),
        )
        for way in ("forward", "backward")
    }
    return [
        *_way(target, files["forward"], target, overlay.forward, both[0], below[0]),
        *_way(target, files["backward"], target.reversed(), overlay.backward, both[1], below[1]),
    ]


def _way(  # noqa: PLR0917
    target: Target, files: tuple[Path, Path], there: Target, over: Flow, both: Flow | None, under: Flow | None
) -> Iterator[Measurement]:
    own, below = files
    figure = figure_of(there, "throughput", own)
    yield figure("tcp_throughput_mbit", over.mbit)
    yield figure("tcp_received_bytes", over.received_bytes)
    if over.sent_bytes is not None:
        yield figure("tcp_sent_bytes", over.sent_bytes)
    if over.segments_again is not None:
        yield figure("tcp_retransmissions", over.segments_again)
    if both is not None:
        yield figure("tcp_throughput_both_mbit", both.mbit, target.evidence("iperf3-both.json"))
    if under is not None:
        yield figure("underlay_tcp_throughput_mbit", under.mbit, below)
        if under.mbit > 0:
            yield figure("tcp_throughput_ratio", over.mbit / under.mbit)
