"""The latency probe: RTT samples by irtt (UDP, one clock for all namespaces), over the overlay or the underlay."""

from __future__ import annotations

import csv
import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from harness.errors import OverlayError
from harness.lab.process import Daemon
from harness.model.family import Address
from harness.model.probes import LatencyProbe
from harness.probes.measurement import Measurement, Target
from harness.probes.oneway import oneway_figures
from harness.probes.ordered import percentile

_PORT = 2112
# irtt opens with these. A link in the bad state of a Gilbert-Elliott process leaves it packet by packet, however long
# we wait: three of them were all lost once in 1,100 openings over the preset `wifi`, ten once in 40,000.
_OPENING_S = (0.5, 0.5, 0.5, 0.5, 1, 1, 1, 1, 1, 2)
_OPENING = ",".join(f"{1000 * one:.0f}ms" for one in _OPENING_S)


@dataclass(frozen=True)
class Sample:
    """One probe packet; `rtt_ms` is None when it was lost. `there_ms` and `back_ms` are its one-way delays.

    `lost` is the way on which it was lost, as the server's count of what it received tells; "unknown" where it cannot.
    """

    seq: int
    sent_s: float
    rtt_ms: float | None
    there_ms: float | None = None
    back_ms: float | None = None
    lost: Literal["there", "back", "unknown"] | None = None


def sample_rtt(target: Target, probe: LatencyProbe, kind: str = "") -> list[Sample]:
    """Run irtt from `src` to `dst` and keep its JSON and a CSV of the samples, their names beginning with `kind`.

    Raises:
        OverlayError: the server could not be reached.
    """
    server = Daemon(
        target.lab.nodes[target.dst],
        ["irtt", "server", "-b", _at(target.dst_address)],
        log=target.evidence(f"{kind}irtt-server.log"),
        cwd=target.folder,
        env={},
    )
    raw = target.evidence(f"{kind}irtt.json")
    try:
        if not server.wait_for_line(f"starting IPv{target.dst_address.version} listener", 5.0):
            raise OverlayError(f"irtt's server did not start on {target.dst}: {server.tail}")
        client = Daemon(
            target.lab.nodes[target.src],
            [
                *(
                    "irtt",
                    "client",
                    "-q",
                    f"-{target.dst_address.version}",
                    "-i",
                    f"{probe.interval_ms:g}ms",
                    "-d",
                    f"{probe.duration_s * 1000:g}ms",
                ),
                *("-l", str(probe.payload_bytes), f"--timeouts={_OPENING}", "--wait=3x1s", "-o", str(raw)),
                _at(target.dst_address),
            ],
            log=target.evidence(f"{kind}irtt.log"),
            cwd=target.folder,
            env={},
        )
        status = client.wait(probe.duration_s + sum(_OPENING_S) + 6)
        client.stop()
        if status != 0 or not raw.exists():
            raise OverlayError(
                f"irtt from {target.src} to {target.dst_address} ended with {status}: {client.tail.strip()}"
            )
    finally:
        server.stop()
    samples = parse_irtt(json.loads(raw.read_text()))
    _write_csv(target.evidence(f"{kind}rtt.csv"), samples)
    return samples


def _at(address: Address) -> str:
    return f"[{address}]:{_PORT}" if address.version == 6 else f"{address}:{_PORT}"


def parse_irtt(result: dict[str, Any]) -> list[Sample]:
    """irtt's JSON (format 1) to samples; its durations are nanoseconds."""
    samples = []
    for trip in result.get("round_trips") or ():
        sent_s = trip["timestamps"]["client"]["send"]["wall"] / 1e9
        delay = {} if trip["lost"] != "false" else trip["delay"]
        rtt, there, back = (_ms(delay.get(key)) for key in ("rtt", "send", "receive"))
        samples.append(Sample(trip["seqno"], sent_s, rtt, there, back, _LOST_ON.get(trip["lost"], "unknown")))
    return samples


_LOST_ON: Mapping[str, Literal["there", "back"] | None] = {"false": None, "true_up": "there", "true_down": "back"}


def _ms(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e6


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
            *([figure("rtt_p99_ms", percentile(rtts, 99))] if len(rtts) >= 100 else []),
            *([figure("rtt_p999_ms", percentile(rtts, 99.9))] if len(rtts) >= 1000 else []),
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


def _write_csv(path: Path, samples: Sequence[Sample]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seq", "sent_s", "rtt_ms", "there_ms", "back_ms"])
        for one in samples:
            delays = ("" if value is None else f"{value:.6f}" for value in (one.rtt_ms, one.there_ms, one.back_ms))
            writer.writerow([one.seq, f"{one.sent_s:.9f}", *delays])
