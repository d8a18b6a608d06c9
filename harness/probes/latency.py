"""The latency probe: RTT samples at a fixed interval, over the overlay and over the underlay of the same lab."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from harness.probes.contract import (
    OVERVIEW,
    Chapter,
    Column,
    Found,
    Measurement,
    Metric,
    Plot,
    Probe,
    ProbeSettings,
    Shown,
    Surroundings,
    Target,
)
from harness.probes.irtt import Sample, sample_rtt
from harness.probes.oneway import oneway_figures
from harness.probes.ordered import FEWEST_FOR_P99, percentile

_PARTS = (
    ("min", "smallest", False),
    ("p50", "median", True),
    ("p95", "95th percentile", False),
    ("p99", "99th percentile", True),
    ("p999", "99.9th percentile, from 1,000 packets on", False),
    ("max", "largest", False),
)


class LatencySettings(ProbeSettings):
    """RTT samples at a fixed interval (irtt), over the overlay and over the underlay of the same lab."""

    duration_s: float = Field(default=2.0, gt=0, le=3600)
    interval_ms: float = Field(default=10.0, ge=1, le=1000)
    payload_bytes: int = Field(default=64, ge=8, le=1200)

    def own_time_s(self) -> float:
        """How long the probe may rightly take for one pair."""
        return self.duration_s


class LatencyProbe(Probe[LatencySettings, list[Sample]]):
    """Round trips by irtt: UDP, so an interface."""

    name = "latency"
    order = 10
    settings = LatencySettings
    needs = frozenset({"interface"})
    turn = "shared"
    doing = "measuring latency"
    metrics = (
        Metric(
            "loss_ratio",
            "1",
            "Share of probes that got no answer.",
            "RFC 6673",
            better="lower",
            min_absolute=0.005,
            in_tables=True,
        ),
        *(
            Metric(
                f"rtt_{part}_ms",
                "ms",
                f"Round-trip time through the overlay: {text} of the trial's samples.",
                "RFC 2681",
                better="lower",
                min_absolute=0.2,
                in_tables=in_tables,
            )
            for part, text, in_tables in _PARTS
        ),
        Metric(
            "added_rtt_p50_ms",
            "ms",
            "Median overlay round-trip time minus the underlay's of the same lab.",
            "RFC 8219 (latency), by analogy",
            better="lower",
            min_absolute=0.2,
            in_tables=True,
        ),
        Metric(
            "underlay_rtt_p50_ms",
            "ms",
            "Median round-trip time without overlay, same lab.",
            "RFC 2681",
            in_tables=True,
        ),
        Metric(
            "owd_p50_ms",
            "ms",
            "One-way delay through the overlay, src to dst: median of the trial's samples.",
            "RFC 7679",
            better="lower",
            min_absolute=0.1,
            in_tables=True,
        ),
        Metric(
            "ipdv_p50_ms",
            "ms",
            "Size of the difference in one-way delay between packets sent one after the other: median.",
            "RFC 3393",
            better="lower",
            min_absolute=0.1,
        ),
        Metric(
            "pdv_p99_ms",
            "ms",
            "One-way delay above the smallest of the trial, 99th percentile; from 100 packets on.",
            "RFC 5481, RFC 8219",
            better="lower",
            min_absolute=0.2,
            in_tables=True,
        ),
        Metric(
            "oneway_loss_ratio",
            "1",
            "Share of probes lost on the way src to dst; only where the way is known of every lost one.",
            "RFC 7680",
            better="lower",
            min_absolute=0.005,
        ),
    )
    shows = Shown(
        chapters=(Chapter("latency", "Latency", place=10, always=True),),
        columns=(Column(OVERVIEW, "added RTT ms", "added_rtt_p50_ms", digits=1, of_underlay=False, always=True),),
        plots=(
            Plot("distribution", "latency", "rtt_p50_ms", "Latency", name="latency"),
            Plot(
                "strip",
                "latency",
                "added_rtt_p50_ms",
                "Added round-trip time",
                label="median RTT minus the underlay's (ms)",
                of_underlay=False,
                difference=True,
            ),
            Plot(
                "strip",
                "latency",
                "owd_p50_ms",
                "One-way delay",
                label="median delay of one way (ms)",
                caption="The mean of both directions. One clock.",
            ),
        ),
    )

    def measure(self, target: Target, settings: LatencySettings, trial: Surroundings) -> list[Sample]:
        """Round trips of one pair."""
        del trial
        return sample_rtt(target, **settings.model_dump())

    def over_underlay(self, settings: LatencySettings) -> bool:
        """Always: what the overlay adds is over the underlay of the same lab."""
        del settings
        return True

    def summarise(self, found: Found[list[Sample]], settings: LatencySettings) -> list[Measurement]:
        """See `summarise_rtt`."""
        del settings
        return summarise_rtt(found.target, found.overlay, found.underlay)


def summarise_rtt(target: Target, samples: Sequence[Sample], underlay: Sequence[Sample] | None) -> list[Measurement]:
    """The trial's figures: percentiles over the samples (nearest rank), loss, and what the overlay added at the median.

    p99 stands only where at least 100 packets came back, p99.9 from 1,000 on: below that it is the maximum by another
    name. Loss by direction stands only where it is known of every lost packet.
    """
    rtts = sorted(sample.rtt_ms for sample in samples if sample.rtt_ms is not None)
    evidence = str(target.evidence("rtt.csv"))

    def figure(metric: str, value: float | None, unit: str = "ms") -> Measurement:
        return Measurement(
            probe="latency", metric=metric, unit=unit, value=value, src=target.src, dst=target.dst, evidence=evidence
        )

    figures = [figure("loss_ratio", 1 - len(rtts) / len(samples) if samples else None, "1")]
    if rtts:
        figures += [
            figure("rtt_min_ms", rtts[0]),
            figure("rtt_p50_ms", statistics.median(rtts)),
            figure("rtt_p95_ms", percentile(rtts, 95)),
            *([figure("rtt_p99_ms", percentile(rtts, 99))] if len(rtts) >= FEWEST_FOR_P99 else []),
            *([figure("rtt_p999_ms", percentile(rtts, 99.9))] if len(rtts) >= 10 * FEWEST_FOR_P99 else []),
            figure("rtt_max_ms", rtts[-1]),
        ]
    lost = Counter(sample.lost for sample in samples)
    for src, dst, delays, gone, sent in (
        (target.src, target.dst, [sample.there_ms for sample in samples], lost["there"], len(samples)),
        (target.dst, target.src, [sample.back_ms for sample in samples], lost["back"], len(samples) - lost["there"]),
    ):
        if sent and not lost["unknown"]:
            figures.append(replace(figure("oneway_loss_ratio", gone / sent, "1"), src=src, dst=dst))
        figures += [replace(figure(metric, value), src=src, dst=dst) for metric, value in oneway_figures(delays)]
    below = sorted(sample.rtt_ms for sample in underlay or () if sample.rtt_ms is not None)
    if rtts and below:
        figures += [
            figure("underlay_rtt_p50_ms", statistics.median(below)),
            figure("added_rtt_p50_ms", statistics.median(rtts) - statistics.median(below)),
        ]
    return figures
