"""The loaded latency probe: round trips while TCP fills both directions, as Flent's RRUL test does it.

RFC 9097 and the responsiveness work of the IETF call the quantity working latency: what queues, the overlay's own
included, add to the path.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from harness.errors import OverlayError
from harness.model.probes import LatencyProbe, LoadedLatencyProbe
from harness.probes.iperf3 import client_of, server_of
from harness.probes.latency import Sample, sample_rtt
from harness.probes.measurement import Measurement, Target
from harness.probes.ordered import percentile

# TCP's slow start and the queue's first filling lie in the first interval; sampling begins after it.
_RAMP_S = 1


def sample_under_load(target: Target, probe: LoadedLatencyProbe) -> list[Sample]:
    """RTT samples by irtt beside iperf3 in both directions; all samples are taken while the load runs.

    Raises:
        OverlayError: iperf3 or irtt could not connect, or the load ended before the samples did.
    """
    seconds = int(probe.duration_s) + _RAMP_S + 10
    arguments = ["--bidir", "-t", str(seconds), "-P", str(probe.streams), "-i", str(_RAMP_S), "--forceflush"]
    with server_of(target, "iperf3-load-server") as server:
        load = client_of(target, server, arguments, "iperf3-load.log")
        try:
            if not load.wait_for_line(r"bits/sec", _RAMP_S + 10.0):
                raise OverlayError(f"iperf3 {target.src} to {target.dst_address}: {load.tail.strip() or server.tail}")
            samples = sample_rtt(
                target,
                LatencyProbe(
                    duration_s=probe.duration_s, interval_ms=probe.interval_ms, payload_bytes=probe.payload_bytes
                ),
                kind="loaded-",
            )
            if not load.alive:
                raise OverlayError(f"the load from {target.src} ended before the samples did: {load.tail.strip()}")
        finally:
            load.stop()
    return samples


def summarise_loaded(target: Target, samples: Sequence[Sample], idle: Sequence[Sample] | None) -> list[Measurement]:
    """Percentiles (nearest rank) and loss under load, and the rise over the idle median where idle samples exist."""
    rtts = sorted(sample.rtt_ms for sample in samples if sample.rtt_ms is not None)
    evidence = str(target.evidence("loaded-rtt.csv"))

    def figure(metric: str, value: float | None, unit: str = "ms") -> Measurement:
        return Measurement(
            probe="loaded_latency",
            metric=metric,
            unit=unit,
            value=value,
            src=target.src,
            dst=target.dst,
            evidence=evidence,
        )

    figures = [figure("loaded_loss_ratio", 1 - len(rtts) / len(samples) if samples else None, "1")]
    if rtts:
        figures += [
            figure("loaded_rtt_p50_ms", statistics.median(rtts)),
            figure("loaded_rtt_p95_ms", percentile(rtts, 95)),
            *([figure("loaded_rtt_p99_ms", percentile(rtts, 99))] if len(rtts) >= 100 else []),
        ]
    before = [sample.rtt_ms for sample in idle or () if sample.rtt_ms is not None]
    if rtts and before:
        figures.append(figure("rtt_rise_p50_ms", statistics.median(rtts) - statistics.median(before)))
    return figures
