"""The throughput probe: TCP by iperf3, one direction after the other, and both at once; its JSON is kept as it came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.errors import OverlayError
from harness.model.probes import ThroughputProbe
from harness.probes.iperf3 import Server, result_of, server_of
from harness.probes.measurement import Measurement, Target


@dataclass(frozen=True)
class Throughput:
    """What the receiver got, in Mbit/s, each way alone; `both` has the two directions of the run that filled both."""

    forward_mbit: float
    backward_mbit: float
    both: tuple[float, float] | None = None


def measure_throughput(target: Target, probe: ThroughputProbe) -> Throughput:
    """Run iperf3 both ways between `src` and `dst`.

    Raises:
        OverlayError: iperf3 could not connect or was cut off.
    """
    with server_of(target) as server:
        forward = _received(target, _run(target, probe, server, "forward"), "sum_received")
        backward = _received(target, _run(target, probe, server, "backward"), "sum_received")
        if not probe.both:
            return Throughput(forward, backward)
        at_once = _run(target, probe, server, "both")
        both = _received(target, at_once, "sum_received"), _received(target, at_once, "sum_received_bidir_reverse")
        return Throughput(forward, backward, both)


def _run(target: Target, probe: ThroughputProbe, server: Server, way: str) -> dict[str, Any]:
    flag = {"forward": [], "backward": ["-R"], "both": ["--bidir"]}[way]
    arguments = ["-t", str(probe.duration_s), "-O", str(probe.omit_s), "-P", str(probe.streams), *flag]
    return result_of(target, server, arguments, probe.duration_s + probe.omit_s, f"iperf3-{way}.json")


def _received(target: Target, result: dict[str, Any], key: str) -> float:
    measured = parse_iperf3(result, key)
    if measured is None:
        what = f"iperf3 {target.src} to {target.dst_address}"
        raise OverlayError(f"{what}: the receiver's figures never came: {result.get('error', '')}")
    return measured


def parse_iperf3(result: dict[str, Any], key: str = "sum_received") -> float | None:
    """Mbit/s that the receiving side counted, over the measured seconds; None when its figures were lost on the way."""
    received = result.get("end", {}).get(key)
    return None if received is None else float(received["bits_per_second"]) / 1e6


def summarise_throughput(target: Target, overlay: Throughput, underlay: Throughput | None) -> list[Measurement]:
    """A figure each way, with the underlay's beside it and the ratio of the two."""
    figures = []
    for place, (src, dst, way) in enumerate(
        ((target.src, target.dst, "forward"), (target.dst, target.src, "backward"))
    ):

        def figure(
            metric: str, unit: str, value: float, ends: tuple[str, str] = (src, dst), evidence: str = way
        ) -> Measurement:
            kept = str(target.evidence(f"iperf3-{evidence}.json"))
            return Measurement(
                probe="throughput", metric=metric, unit=unit, value=value, src=ends[0], dst=ends[1], evidence=kept
            )

        over = getattr(overlay, f"{way}_mbit")
        figures.append(figure("tcp_throughput_mbit", "Mbit/s", over))
        if overlay.both is not None:
            figures.append(figure("tcp_throughput_both_mbit", "Mbit/s", overlay.both[place], evidence="both"))
        if underlay is not None:
            under = getattr(underlay, f"{way}_mbit")
            figures.append(figure("underlay_tcp_throughput_mbit", "Mbit/s", under))
            if under > 0:
                figures.append(figure("tcp_throughput_ratio", "1", over / under))
    return figures
