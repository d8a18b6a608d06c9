"""The loaded latency probe: round trips while TCP fills both directions, as Flent's RRUL test does it.

RFC 9097 and the responsiveness work of the IETF call the quantity working latency: what queues, the overlay's own
included, add to the path.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial

from pydantic import Field

from harness.errors import OverlayError
from harness.probes.contract import Found, Measurement, Probe, ProbeSettings, Surroundings, Target
from harness.probes.iperf3 import Server, client_of, with_server
from harness.probes.irtt import Sample, sample_rtt
from harness.probes.measurement import figure_of
from harness.probes.ordered import finite, of_all_sent, percentiles
from harness.results.declared import Chapter, Column, Metric, Plot, Shown, Table

# TCP's slow start and the queue's first filling lie in the first interval; sampling begins after it.
_RAMP_S = 1


class LoadedLatencySettings(ProbeSettings):
    """RTT samples (irtt) while TCP fills both directions (iperf3), over the overlay: like a call during a backup.

    If the latency probe runs in the same trial, the rise over the idle median is reported as well.
    """

    duration_s: float = Field(default=3.0, gt=0, le=3600)
    interval_ms: float = Field(default=10.0, ge=1, le=1000)
    payload_bytes: int = Field(default=64, ge=8, le=1200)
    streams: int = Field(default=1, ge=1, le=64)

    def own_time_s(self) -> float:
        """Return how long the probe may rightly take for one pair."""
        return self.duration_s + 3


class LoadedLatencyProbe(Probe[LoadedLatencySettings, list[Sample]]):
    """irtt (UDP, so it needs an interface) while iperf3 runs."""

    name = "loaded_latency"
    order = 40
    settings = LoadedLatencySettings
    needs = frozenset({"interface"})
    turn = "exclusive"
    doing = "measuring latency under load"
    metrics = (
        *(
            Metric(
                f"loaded_rtt_{part}_ms",
                "ms",
                f"Round-trip time while TCP fills both directions: {text} of the packets that were sent.",
                "RFC 9097 (working latency)",
                better="lower",
                estimator="censored median",
                min_absolute=1.0,
                in_tables=part != "p99",
            )
            for part, text in (("p50", "median"), ("p95", "95th percentile"), ("p99", "99th percentile"))
        ),
        Metric(
            "rtt_rise_p50_ms",
            "ms",
            "Median round-trip time under load minus the idle median of the same trial.",
            "RFC 9097 (working latency)",
            better="lower",
            estimator="censored median",
            min_absolute=1.0,
            in_tables=True,
        ),
        Metric(
            "loaded_loss_ratio",
            "1",
            "Share of packets without an answer while TCP fills both directions.",
            "RFC 6673",
            better="lower",
            min_absolute=0.01,
            in_tables=True,
        ),
    )
    shows = Shown(
        chapters=(
            Chapter(
                "loaded",
                "Under load",
                "Round trips while TCP fills both directions, as in a call during a backup. They include the queues "
                "of the links as well as the overlay's own, so compare them with the underlay's.",
                place=20,
            ),
        ),
        tables=(
            Table(
                "load",
                "Delay and rates under load",
                "loaded",
                "RTT while TCP fills both directions. Rise: the same minus the idle median of the same trial. UDP: "
                "payload at the highest rate without loss (or with the loss that the scenario allows).",
            ),
        ),
        columns=(
            Column("load", "RTT (ms)", "loaded_rtt_p50_ms", digits=1),
            Column("load", "RTT p95 (ms)", "loaded_rtt_p95_ms", digits=1),
            Column("load", "rise (ms)", "rtt_rise_p50_ms", digits=1),
            Column("load", "lost", "loaded_loss_ratio", "percent"),
        ),
        plots=(
            Plot("distribution", "loaded", "loaded_rtt_p50_ms", "Latency under load", name="loaded-latency"),
            Plot(
                "strip",
                "loaded",
                "rtt_rise_p50_ms",
                "Rise of the round-trip time under load",
                label="median under load minus idle (ms)",
                difference=True,
            ),
        ),
    )

    def measure(self, target: Target, settings: LoadedLatencySettings, trial: Surroundings) -> list[Sample]:
        """Measure the round trips of one pair under load."""
        del trial
        return sample_under_load(target, settings)

    def summarise(self, found: Found[list[Sample]], settings: LoadedLatencySettings) -> list[Measurement]:
        """Summarise by `summarise_loaded`."""
        del settings
        return summarise_loaded(found.target, found.overlay, found.earlier.get("latency"))


def sample_under_load(target: Target, settings: LoadedLatencySettings) -> list[Sample]:
    """Sample the RTT by irtt while iperf3 fills both directions; all samples are taken while the load runs.

    Raises:
        OverlayError: iperf3 or irtt could not connect, or the load ended before the samples did.
    """
    return with_server(target, partial(_sample, target, settings), "iperf3-load-server")


def _sample(target: Target, settings: LoadedLatencySettings, server: Server) -> list[Sample]:
    seconds = int(settings.duration_s) + _RAMP_S + 10
    arguments = ["--bidir", "-t", str(seconds), "-P", str(settings.streams), "-i", str(_RAMP_S), "--forceflush"]
    load = client_of(target, server, arguments, "iperf3-load.log")
    try:
        if not load.wait_for_line(r"bits/sec", _RAMP_S + 10.0):
            what = f"iperf3 {target.src} to {target.destination}: nothing is sent"
            raise OverlayError(f"{what}: {load.tail.strip() or server.tail}")
        samples = sample_rtt(
            target,
            duration_s=settings.duration_s,
            interval_ms=settings.interval_ms,
            payload_bytes=settings.payload_bytes,
            kind="loaded-",
        )
        if not load.alive:
            raise OverlayError(f"the load from {target.src} ended before the samples did: {load.tail.strip()}")
    finally:
        load.stop()
    return samples


def summarise_loaded(target: Target, samples: Sequence[Sample], idle: Sequence[Sample] | None) -> list[Measurement]:
    """Return percentiles over all packets sent, as `summarise_rtt` does, and the rise over the idle median if known."""
    figure = figure_of(target, "loaded_latency", target.evidence("loaded-rtt.csv"))
    ordered = of_all_sent([sample.rtt_ms for sample in samples])
    lost = sum(sample.rtt_ms is None for sample in samples)
    figures = [figure("loaded_loss_ratio", lost / len(samples) if samples else None)]
    figures += [figure(f"loaded_rtt_p{share:g}_ms", value) for share, value in percentiles(ordered, (50, 95, 99))]
    before = finite(statistics.median(of_all_sent([sample.rtt_ms for sample in idle]))) if idle else None
    if samples and before is not None:
        figures.append(figure("rtt_rise_p50_ms", finite(statistics.median(ordered) - before)))
    return figures
