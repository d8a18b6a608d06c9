"""The stream probe: what a TCP connection through the overlay feels like, over interfaces and streams alike.

One tool of ours at both ends (`stream_peer`), so that layers compare: fresh connections, request and answer, every byte
intact, and whether the end of a stream arrives as it was meant.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from harness.errors import OverlayError
from harness.probes import stream_peer
from harness.probes.contract import Found, Measurement, Probe, ProbeSettings, Surroundings, Target
from harness.probes.measurement import figure_of
from harness.probes.ordered import percentile
from harness.probes.peer import Peer, answer_of
from harness.results.declared import Chapter, Column, Metric, Plot, Shown, Table

PORT = 7411
_GRACE_S = 40.0
# Some full segments, and long enough for them over two satellites.
_FULL_SEGMENTS_BYTES = 20_000
_FULL_SEGMENTS_S = 15.0
_ENDINGS = ("push", "pull", "half-close", "server-closes")


class StreamSettings(ProbeSettings):
    """TCP streams between members: connecting, round trips of request and answer, integrity, and how streams end.

    `connections` fresh connections are opened one after the other. Then one connection carries requests of
    `request_bytes` and answers of `answer_bytes` for `duration_s`. A request is due every `interval_ms`, whether or not
    the previous one was answered, and its round trip counts from the time at which it was due. `integrity_mb` megabytes
    are sent each way; 0 leaves that out.
    """

    connections: int = Field(default=5, ge=1, le=1000)
    duration_s: float = Field(default=2.0, gt=0, le=600)
    interval_ms: float = Field(default=10.0, ge=1, le=10_000)
    request_bytes: int = Field(default=64, ge=1, le=1_000_000)
    answer_bytes: int = Field(default=64, ge=1, le=1_000_000)
    integrity_mb: float = Field(default=10.0, ge=0, le=1000)

    def own_time_s(self) -> float:
        """Return how long the probe may rightly take for one pair."""
        return self.connections * 2 + self.duration_s + 4 * _GRACE_S


@dataclass(frozen=True)
class Streamed:
    """What streams of one pair did, `src` to `dst`: seconds, and by ending whether all arrived.

    `stuck` is a way on which the bare underlay carries no full segments; not looked at over an overlay.
    """

    connect_s: tuple[float, ...]
    trips_s: tuple[float, ...]
    intact: dict[str, bool] = field(default_factory=dict)
    stuck: str | None = None


class StreamProbe(Probe[StreamSettings, Streamed]):
    """TCP connections through the overlay, and over the underlay of the same lab."""

    name = "stream"
    order = 15
    settings = StreamSettings
    needs = frozenset({"interface", "stream"})
    turn = "shared"
    doing = "measuring streams"
    metrics = (
        Metric(
            "stream_rtt_p50_ms",
            "ms",
            "Request and answer on an open TCP connection, from when each request was due: median of the trial's "
            "round trips.",
            "RFC 2681, by analogy",
            better="lower",
            min_absolute=0.2,
            in_tables=True,
        ),
        Metric(
            "stream_rtt_p99_ms",
            "ms",
            "Request and answer on an open TCP connection, from when each request was due: 99th percentile, from 100 "
            "round trips on.",
            "RFC 2681, by analogy",
            better="lower",
            min_absolute=0.5,
        ),
        Metric(
            "underlay_stream_rtt_p50_ms", "ms", "The same without overlay, in the same lab.", "RFC 2681, by analogy"
        ),
        Metric(
            "added_stream_rtt_p50_ms",
            "ms",
            "Median stream round-trip time minus the underlay's in the same lab.",
            "RFC 8219 (latency), by analogy",
            better="lower",
            min_absolute=0.2,
            in_tables=True,
        ),
        Metric(
            "stream_connect_p50_ms",
            "ms",
            "From opening a new TCP connection to the first byte of the answer: median over the trial's connections.",
            "this project",
            better="lower",
            min_absolute=1.0,
            in_tables=True,
        ),
        Metric("underlay_stream_connect_p50_ms", "ms", "The same without overlay, in the same lab.", "this project"),
        Metric(
            "stream_intact",
            "1",
            "Whether every byte sent each way arrived, compared by SHA-256.",
            "this project",
            better="higher",
            estimator="proportion",
            pairs="all",
            in_tables=True,
        ),
        Metric(
            "stream_half_close",
            "1",
            "Whether the server sees that the client has closed its direction, and can still answer (RFC 9293, 3.6).",
            "RFC 9293",
            better="higher",
            estimator="proportion",
            pairs="all",
            in_tables=True,
        ),
        Metric(
            "stream_server_close",
            "1",
            "Whether everything arrives, and the client sees the end, if the server closes right after its last byte.",
            "RFC 9293",
            better="higher",
            estimator="proportion",
            pairs="all",
            in_tables=True,
        ),
    )
    shows = Shown(
        chapters=(Chapter("streams", "Streams", place=20),),
        tables=(Table("streams", "Streams", "streams"),),
        columns=(
            Column("streams", "connect (ms)", "stream_connect_p50_ms", digits=1),
            Column("streams", "RTT (ms)", "stream_rtt_p50_ms", digits=2),
            Column("streams", "added RTT (ms)", "added_stream_rtt_p50_ms", digits=2, of_underlay=False),
            Column("streams", "intact", "stream_intact", "count"),
            Column("streams", "half-close", "stream_half_close", "count"),
            Column("streams", "server closes first", "stream_server_close", "count"),
        ),
        plots=(
            Plot("strip", "streams", "stream_rtt_p50_ms", "Round-trip time of a stream", label="median RTT (ms)"),
            Plot("strip", "streams", "stream_connect_p50_ms", "Connecting", label="to the first answer (ms)"),
        ),
    )

    def measure(self, target: Target, settings: StreamSettings, trial: Surroundings) -> Streamed:
        """Measure the streams of one pair, `src` to `dst`.

        Raises:
            OverlayError: a stream could not be opened, or ended in the middle.
        """
        del trial
        bare = "underlay" in (target.label, target.mode)
        return measure_streams(target, settings, endings=target.label == "overlay", bare=bare)

    def over_underlay(self, settings: StreamSettings) -> bool:
        """Return True: the figure of interest is what the overlay adds to the underlay of the same lab."""
        del settings
        return True

    def why_no_baseline(self, target: Target, found: Streamed, settings: StreamSettings) -> str | None:
        """Say which way full segments do not come through; a stream that breaks before says so itself."""
        del target, settings
        return None if found.stuck is None else f"carried no TCP from {found.stuck}"

    def summarise(self, found: Found[Streamed], settings: StreamSettings) -> list[Measurement]:
        """Summarise by `summarise_streams`."""
        del settings
        return list(summarise_streams(found.target, found.overlay, found.underlay))


def measure_streams(target: Target, settings: StreamSettings, *, endings: bool = True, bare: bool = False) -> Streamed:
    """Connect, exchange requests and answers, and with `endings` send all that must arrive whole.

    With `bare` some full segments each way before: requests and answers alone say nothing of a black hole.

    Raises:
        OverlayError: a stream could not be opened, or ended in the middle of a round trip.
    """
    peer = Peer(stream_peer, target, target.stream(PORT))
    with peer.serving():
        connected = _ask(peer, "connect", [settings.connections])
        asked = [settings.duration_s, settings.request_bytes, settings.answer_bytes, settings.interval_ms / 1000]
        trips = _ask(peer, "trips", asked)
        for what, answer in (("connect", connected), ("trips", trips)):
            if "error" in answer:
                raise OverlayError(f"stream {target.src} to {target.dst}: {what}: {answer['error']}")
        stuck = _stuck(peer, target) if bare else None
        intact = {}
        count = round(settings.integrity_mb * 1_000_000)
        if endings and count and stuck is None:
            for number, what in enumerate(_ENDINGS):
                # A stream that breaks here is a figure of its own, not the end of the trial.
                intact[what] = bool(_ask(peer, what, [count, number + 1]).get("intact"))
    return Streamed(tuple(connected["seconds"]), tuple(trips["seconds"]), intact, stuck)


def summarise_streams(target: Target, overlay: Streamed, underlay: Streamed | None) -> Iterator[Measurement]:
    """Yield the figures of a pair."""
    figure = figure_of(target, "stream")

    def kept(what: str, label: str | None = None) -> Path:
        return target.evidence(f"stream-{what}.json", label)

    trips_ms = sorted(1000 * trip for trip in overlay.trips_s)
    median_ms = statistics.median(trips_ms)
    yield figure("stream_rtt_p50_ms", median_ms, kept("trips"))
    if len(trips_ms) >= 100:
        yield figure("stream_rtt_p99_ms", percentile(trips_ms, 99), kept("trips"))
    yield figure("stream_connect_p50_ms", 1000 * statistics.median(overlay.connect_s), kept("connect"))
    if underlay is not None:
        below_ms = 1000 * statistics.median(underlay.trips_s)
        yield figure("underlay_stream_rtt_p50_ms", below_ms, kept("trips", "underlay"))
        yield figure("added_stream_rtt_p50_ms", median_ms - below_ms, kept("trips"))
        connect_ms = 1000 * statistics.median(underlay.connect_s)
        yield figure("underlay_stream_connect_p50_ms", connect_ms, kept("connect", "underlay"))
    if overlay.intact:
        whole = overlay.intact["push"] and overlay.intact["pull"]
        yield figure("stream_intact", float(whole), kept("push"))
        yield figure("stream_half_close", float(overlay.intact["half-close"]), kept("half-close"))
        yield figure("stream_server_close", float(overlay.intact["server-closes"]), kept("server-closes"))


def _stuck(peer: Peer, target: Target) -> str | None:
    """Return the first way on which full segments do not come through; None where they do on both."""
    for what, way in (("push", f"{target.src} to {target.dst}"), ("pull", f"{target.dst} to {target.src}")):
        client = peer.client(what, [_FULL_SEGMENTS_BYTES, 0], f"stream-full-{what}.json")
        if not answer_of(client, _FULL_SEGMENTS_S).get("intact"):
            return way
    return None


def _ask(peer: Peer, what: str, arguments: Sequence[float]) -> dict[str, Any]:
    """Run a client to its end; what it printed is the evidence."""
    client = peer.client(what, arguments, f"stream-{what}.json")
    return answer_of(client, _GRACE_S + (arguments[0] if what == "trips" else 0))
