"""The metrics: what each is, its unit, which way is better, and how it is estimated (results/README.md says more)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Estimator = Literal["proportion", "median", "censored median"]
Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class Metric:
    """What a metric means. `min_effect` is the smallest change worth calling a regression, as a share of the
    baseline's value (of 1 for a proportion); `min_absolute` its floor in the metric's own unit."""

    name: str
    unit: str
    definition: str
    source: str
    better: Better = "neither"
    estimator: Estimator = "median"
    min_effect: float = 0.1
    min_absolute: float = 0.0


_LIST = (
    Metric("duration_s", "s", "Wall time of the trial, sandbox included; ends the trial.", "this project"),
    Metric("lab_start_s", "s", "From the worker's start until nodes, routers and links stand.", "this project"),
    Metric("nat_check_s", "s", "Checking every router's NAT before the overlay starts.", "this project"),
    Metric("fixed_overhead_s", "s", "Worker start to first probe, without the overlay's own start.", "this project"),
    Metric(
        "link_lateness_p99_us",
        "us",
        "How much later than due the link emulator sent a packet, 99th percentile over the whole trial.",
        "this project",
    ),
    Metric(
        "repeated_measurements",
        "count",
        "Measurements of the trial that were thrown away because a link was late, and taken anew.",
        "this project",
    ),
    Metric(
        "time_to_ready_s",
        "s",
        "From the first daemon's start until every daemon met its readiness condition.",
        "this project",
        better="lower",
        min_absolute=0.1,
    ),
    Metric(
        "connect_success",
        "1",
        "1 when an overlay packet was answered within the deadline, else 0.",
        "RFC 2678 (connectivity)",
        better="higher",
        estimator="proportion",
    ),
    Metric(
        "hole_punch_success",
        "1",
        "1 when ciphertext went directly both ways within the deadline, as router and relay counters saw it, else 0.",
        "RFC 5128, RFC 8445",
        better="higher",
        estimator="proportion",
    ),
    Metric(
        "time_to_connect_s",
        "s",
        "From both daemons running to the first answered overlay packet; censored at the deadline.",
        "this project",
        better="lower",
        estimator="censored median",
        min_absolute=0.1,
    ),
    Metric(
        "time_to_direct_s",
        "s",
        "From both daemons running to the first answered overlay packet on a direct path; censored at the deadline.",
        "this project",
        better="lower",
        estimator="censored median",
        min_absolute=0.1,
    ),
    *(
        Metric(
            f"rtt_{part}_ms",
            "ms",
            f"Round-trip time through the overlay: {text} of the trial's samples.",
            "RFC 2681",
            better="lower",
            min_absolute=0.2,
        )
        for part, text in (
            ("min", "smallest"),
            ("p50", "median"),
            ("p95", "95th percentile"),
            ("p99", "99th percentile"),
            ("p999", "99.9th percentile, from 1,000 packets on"),
            ("max", "largest"),
        )
    ),
    Metric(
        "owd_p50_ms",
        "ms",
        "One-way delay through the overlay, src to dst: median of the trial's samples.",
        "RFC 7679",
        better="lower",
        min_absolute=0.1,
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
    ),
    Metric(
        "loss_ratio",
        "1",
        "Share of probes that got no answer.",
        "RFC 6673",
        better="lower",
        min_absolute=0.005,
    ),
    Metric(
        "oneway_loss_ratio",
        "1",
        "Share of probes lost on the way src to dst; only where the way is known of every lost one.",
        "RFC 7680",
        better="lower",
        min_absolute=0.005,
    ),
    Metric("underlay_rtt_p50_ms", "ms", "Median round-trip time without overlay, same lab.", "RFC 2681"),
    Metric(
        "added_rtt_p50_ms",
        "ms",
        "Median overlay round-trip time minus the underlay's of the same lab.",
        "RFC 8219 (latency), by analogy",
        better="lower",
        min_absolute=0.2,
    ),
    Metric(
        "tcp_throughput_mbit",
        "Mbit/s",
        "TCP goodput through the overlay, src to dst, warm-up omitted.",
        "RFC 6349",
        better="higher",
    ),
    Metric(
        "tcp_throughput_both_mbit",
        "Mbit/s",
        "TCP goodput src to dst while the other direction is filled as well.",
        "RFC 6349",
        better="higher",
    ),
    Metric(
        "udp_goodput_mbit",
        "Mbit/s",
        "UDP payload that arrived at the highest rate with no more loss than the probe allows (none by default).",
        "RFC 2544 section 26.1, RFC 9097",
        better="higher",
    ),
    *(
        Metric(
            f"loaded_rtt_{part}_ms",
            "ms",
            f"Round-trip time while TCP fills both directions: {text} of the trial's samples.",
            "RFC 9097 (working latency)",
            better="lower",
            min_absolute=1.0,
        )
        for part, text in (("p50", "median"), ("p95", "95th percentile"), ("p99", "99th percentile"))
    ),
    Metric(
        "rtt_rise_p50_ms",
        "ms",
        "Median round-trip time under load minus the idle median of the same trial.",
        "RFC 9097 (working latency)",
        better="lower",
        min_absolute=1.0,
    ),
    Metric(
        "loaded_loss_ratio",
        "1",
        "Share of probes without an answer while TCP fills both directions.",
        "RFC 6673",
        better="lower",
        min_absolute=0.01,
    ),
    Metric("offered_mtu_bytes", "B", "MTU of the interface that leads to the peer, as src has it.", "RFC 1191"),
    Metric(
        "path_mtu_bytes",
        "B",
        "Largest IPv4 packet whose echo came back unfragmented, src to dst.",
        "RFC 1191, RFC 8899",
        better="higher",
        min_effect=0.01,
    ),
    Metric(
        "pmtu_black_hole",
        "1",
        "1 when packets that the interface takes vanish for their size without an error, else 0.",
        "RFC 2923",
        better="lower",
        estimator="proportion",
    ),
    Metric(
        "underlay_tcp_throughput_mbit",
        "Mbit/s",
        "TCP goodput without overlay: same lab, or with `baseline: cell` same cell.",
        "RFC 6349",
    ),
    Metric(
        "tcp_throughput_ratio",
        "1",
        "TCP goodput through the overlay as a share of the underlay's: same lab, or with `baseline: cell` same cell.",
        "RFC 6349",
        better="higher",
    ),
    Metric(
        "cpu_s_per_gb",
        "s/GB",
        "CPU time of the overlay's processes at both ends and between per 10^9 bytes of goodput.",
        "this project",
        better="lower",
    ),
    Metric(
        "underlay_bytes_per_byte",
        "B/B",
        "IP bytes that the members' sites sent over the outermost segment per byte of TCP goodput.",
        "this project",
        better="lower",
        min_effect=0.02,
    ),
    Metric(
        "underlay_packets_per_mb",
        "1/MB",
        "Packets that the members' sites sent over the outermost segment per 10^6 bytes of TCP goodput.",
        "this project",
        better="lower",
    ),
    Metric(
        "server_bytes_per_byte",
        "B/B",
        "IP bytes that the server (relay, hub) sent per byte of TCP goodput.",
        "this project",
        better="lower",
        min_effect=0.02,
    ),
    Metric(
        "rss_mib",
        "MiB",
        "Largest resident memory of the overlay's processes on one node.",
        "proc(5), VmHWM",
        better="lower",
        min_absolute=2.0,
    ),
)

METRICS = {metric.name: metric for metric in _LIST}


def metric_of(name: str, unit: str = "") -> Metric:
    """The metric's entry; a metric of somebody else's probe is a plain median of unknown direction."""
    return METRICS.get(name) or Metric(name, unit, "", "")


def reference_table() -> str:
    """All metrics as the Markdown table of results/README.md."""
    rows = ["| Metric | Unit | Definition | Source | Better | Minimum effect |", "|---|---|---|---|---|---|"]
    for metric in METRICS.values():
        unit = "ratio, 0 to 1" if metric.unit == "1" else metric.unit
        effect = "-"
        if metric.better != "neither":
            effect = f"{100 * metric.min_effect:.0f} {'points' if metric.estimator == 'proportion' else '%'}"
            if metric.min_absolute:
                effect += f", at least {metric.min_absolute:g}{'' if metric.unit == '1' else ' ' + metric.unit}"
        cells = (f"`{metric.name}`", unit, metric.definition, metric.source, metric.better, effect)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"
