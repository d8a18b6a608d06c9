"""The latency probe: RTT samples at a fixed interval, over the overlay and over the underlay of the same lab."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from harness.probes.contract import Found, Measurement, Probe, ProbeSettings, Surroundings, Target
from harness.probes.irtt import Sample, sample_rtt
from harness.probes.measurement import figure_of
from harness.probes.oneway import oneway_figures
from harness.probes.ordered import finite, of_all_sent, percentiles
from harness.results.declared import OVERVIEW, Chapter, Column, Metric, Plot, Shown

# So many in a row are lost by no link that carries anything: 0.6 to the power of 20 is 1 in 27,000.
_FEWEST_SILENT = 20
_SENT = "of the packets that were sent"
_PARTS = (
    ("p50", "median", True),
    ("p95", "95th percentile, from 20 packets on", False),
    ("p99", "99th percentile, from 100 packets on", True),
    ("p999", "99.9th percentile, from 1,000 packets on", False),
    ("max", "largest", False),
)


class LatencySettings(ProbeSettings):
    """RTT samples at a fixed interval (irtt), over the overlay and over the underlay of the same lab."""

    duration_s: float = Field(default=2.0, gt=0, le=3600)
    interval_ms: float = Field(default=10.0, ge=1, le=1000)
    payload_bytes: int = Field(default=64, ge=8, le=1200)

    def own_time_s(self) -> float:
        """Return how long the probe may rightly take for one pair."""
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
            "Share of packets without an answer.",
            "RFC 6673; RFC 8912 section 4 (RTLoss)",
            better="lower",
            min_absolute=0.005,
            in_tables=True,
        ),
        Metric(
            "rtt_min_ms",
            "ms",
            "Smallest round-trip time through the overlay.",
            "RFC 2681",
            better="lower",
            min_absolute=0.2,
        ),
        *(
            Metric(
                f"rtt_{part}_ms",
                "ms",
                f"Round-trip time through the overlay: {text} {_SENT}; a lost packet counts as infinite.",
                "RFC 2681",
                better="lower",
                estimator="censored median",
                min_absolute=0.2,
                in_tables=in_tables,
            )
            for part, text, in_tables in _PARTS
        ),
        Metric(
            "added_rtt_p50_ms",
            "ms",
            "Median round-trip time through the overlay minus that of the underlay in the same lab.",
            "RFC 8219 (latency), by analogy",
            better="lower",
            estimator="censored median",
            min_absolute=0.2,
            in_tables=True,
        ),
        Metric(
            "underlay_rtt_p50_ms",
            "ms",
            "Median round-trip time without overlay, in the same lab.",
            "RFC 2681",
            estimator="censored median",
            in_tables=True,
        ),
        Metric(
            "owd_p50_ms",
            "ms",
            f"One-way delay through the overlay, src to dst: median {_SENT}, as for round trips.",
            "RFC 7679",
            better="lower",
            estimator="censored median",
            min_absolute=0.1,
            in_tables=True,
        ),
        Metric(
            "ipdv_p50_ms",
            "ms",
            "Median absolute difference in one-way delay between successive packets.",
            "RFC 3393",
            better="lower",
            min_absolute=0.1,
        ),
        *(
            Metric(
                f"pdv_{part}_ms",
                "ms",
                f"One-way delay minus the smallest of the trial, {text}, {_SENT}.",
                source,
                better="lower",
                estimator="censored median",
                min_absolute=0.2,
                in_tables=part == "p99",
            )
            for part, text, source in (
                ("p99", "99th percentile, from 100 packets on", "RFC 5481 (PDV)"),
                ("p999", "99.9th percentile, from 1,000 packets on", "RFC 8219 section 7.3.1"),
            )
        ),
        Metric(
            "oneway_loss_ratio",
            "1",
            "Share of packets lost on the way from src to dst; missing unless the direction of every loss is known.",
            "RFC 7680; RFC 8912 section 8 (OWLoss)",
            better="lower",
            min_absolute=0.005,
        ),
    )
    shows = Shown(
        chapters=(Chapter("latency", "Latency", place=10, always=True),),
        columns=(Column(OVERVIEW, "added RTT (ms)", "added_rtt_p50_ms", digits=1, of_underlay=False, always=True),),
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
                label="median one-way delay (ms)",
                caption="Mean of both directions; all nodes share one clock.",
            ),
        ),
    )

    def measure(self, target: Target, settings: LatencySettings, trial: Surroundings) -> list[Sample]:
        """Measure the round trips of one pair."""
        del trial
        return sample_rtt(target, **settings.model_dump())

    def over_underlay(self, settings: LatencySettings) -> bool:
        """Return True: the figure of interest is what the overlay adds to the underlay of the same lab."""
        del settings
        return True

    def why_no_baseline(self, target: Target, found: list[Sample], settings: LatencySettings) -> str | None:
        """Say from when on no packet was answered any more."""
        del settings
        last = max((number for number, sample in enumerate(found, 1) if sample.rtt_ms is not None), default=0)
        silent = len(found) - last
        if last and silent < max(_FEWEST_SILENT, len(found) / 2):
            return None
        what = (
            f"answered no more after {last} of {len(found)} packets"
            if last
            else f"answered none of {len(found)} packets"
        )
        return f"{what} from {target.src} to {target.dst}"

    def summarise(self, found: Found[list[Sample]], settings: LatencySettings) -> list[Measurement]:
        """Summarise by `summarise_rtt`."""
        del settings
        return summarise_rtt(found.target, found.overlay, found.underlay)


def summarise_rtt(target: Target, samples: Sequence[Sample], underlay: Sequence[Sample] | None) -> list[Measurement]:
    """Return the trial's figures: percentiles over all packets sent, loss, and what the overlay added at the median.

    A lost packet's delay is infinite (RFC 2681), so a percentile is None where that many were lost; p99 stands where at
    least 100 packets were sent, p99.9 from 1,000 on. Loss by direction stands only where it is known of every lost
    packet; in the one-way delays one that was lost on an unknown way counts as lost both ways.
    """
    figure = figure_of(target, "latency", target.evidence("rtt.csv"))
    ordered = of_all_sent([sample.rtt_ms for sample in samples])
    answered = sum(sample.rtt_ms is not None for sample in samples)
    figures = [figure("loss_ratio", 1 - answered / len(samples) if samples else None)]
    if answered:
        figures.append(figure("rtt_min_ms", ordered[0]))
    figures += [figure(f"rtt_p{_name(share)}_ms", value) for share, value in percentiles(ordered, (50, 95, 99, 99.9))]
    if samples:
        figures.append(figure("rtt_max_ms", finite(ordered[-1])))
    for src, dst, way, other in ((target.src, target.dst, "there", "back"), (target.dst, target.src, "back", "there")):
        # What was lost on its way there never set out on its way back.
        sent = [sample for sample in samples if way == "there" or sample.lost != other]
        gone = sum(sample.lost == way for sample in sent)
        if sent and all(sample.lost != "unknown" for sample in samples):
            figures.append(replace(figure("oneway_loss_ratio", gone / len(sent)), src=src, dst=dst))
        # One that got there and was lost on its way back is late by nothing on its way there, but has no stamp.
        stamped = [sample for sample in sent if way == "back" or sample.lost != other]
        delays = [sample.there_ms if way == "there" else sample.back_ms for sample in stamped]
        figures += [replace(figure(metric, value), src=src, dst=dst) for metric, value in oneway_figures(delays)]
    if underlay:
        below = finite(statistics.median(of_all_sent([sample.rtt_ms for sample in underlay])))
        figures.append(figure("underlay_rtt_p50_ms", below, target.evidence("rtt.csv", "underlay")))
        if below is not None and samples:
            figures.append(figure("added_rtt_p50_ms", finite(statistics.median(ordered) - below)))
    return figures


def _name(share: float) -> str:
    return f"{share:g}".replace(".", "")
