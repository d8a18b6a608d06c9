"""The throughput probe: TCP by iperf3, one direction after the other, and both at once; its JSON is kept as it came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from pydantic import Field

from harness.errors import OverlayError
from harness.probes.contract import Found, Measurement, Pair, Probe, ProbeSettings, Surroundings, Target
from harness.probes.cost import COST_METRICS, COST_SHOWN, summarise_cost
from harness.probes.exits import exits
from harness.probes.iperf3 import PORT, Server, client_of, finish, is_control_lost, with_server
from harness.probes.overhead import OVERHEAD_METRICS, carried_in, summarise_edge, summarise_overhead
from harness.probes.ownload import TOOL, own_load
from harness.probes.steady import Window, readings_text, watch_load
from harness.probes.tcpflows import Flow, Throughput, parse_iperf3, summarise_throughput
from harness.results.declared import OVERVIEW, Chapter, Column, Metric, OfCell, Plot, Shown, Table

_BOTH_WAYS = "Mean of both directions."


class ThroughputSettings(ProbeSettings):
    """TCP throughput by iperf3, one direction after the other, over the overlay and over the underlay.

    `baseline: lab` measures the underlay in the very same lab, once the overlay has stopped. `cell` takes the figure
    from the underlay's own trial of the same cell and repeat instead, which halves the time for which a trial needs the
    machine alone. `both` adds a run with both directions at once. The first `omit_s` of each run do not count, because
    TCP is in slow start then; with an `omit_s` of 0, or a `duration_s` of only a second or two, the cost per byte is
    off by several per cent.
    """

    baseline: Literal["lab", "cell"] = "lab"
    duration_s: int = Field(default=5, ge=1, le=3600)
    omit_s: int = Field(default=2, ge=0, le=60)
    streams: int = Field(default=1, ge=1, le=64)
    both: bool = False

    def own_time_s(self) -> float:
        """Return how long the probe may rightly take for one pair."""
        return (3.0 if self.both else 2.0) * (self.duration_s + self.omit_s)

    @property
    def baseline_of_cell(self) -> bool:
        """See `ProbeSettings`."""
        return self.baseline == "cell"


def measure_throughput(target: Target, settings: ThroughputSettings, trial: Surroundings) -> Throughput:
    """Run iperf3 both ways between `src` and `dst`; where it does not come to its end, a sender of ours.

    That is through a stream that does not carry it, and over an interface whose path loses so much that the control
    connection is lost again and again, or that not a byte came in the measured seconds: ours goes on until one comes.
    Ours fills one direction at a time: there is no figure of both at once then.

    Raises:
        OverlayError: neither could connect, or both were cut off.
    """
    found: Throughput | None = None
    try:
        found = _by_iperf3(target, settings, trial)
    except OverlayError as error:
        if target.dst_address is not None and not is_control_lost(str(error)):
            raise
    if found is not None and found.forward.received_bytes and found.backward.received_bytes:
        return found
    try:
        return _by_ours(target, settings, trial)
    except OverlayError:
        if found is None:
            raise
        return found


def _by_ours(target: Target, settings: ThroughputSettings, trial: Surroundings) -> Throughput:
    times = {"omit_s": settings.omit_s, "duration_s": settings.duration_s}
    (forward, one), (backward, other) = (
        own_load(target, trial, way, **times, connections=settings.streams) for way in ("forward", "backward")
    )
    windows = tuple(window for window in (one, other) if window is not None)
    return Throughput(forward, backward, None, windows, TOOL)


def _by_iperf3(target: Target, settings: ThroughputSettings, trial: Surroundings) -> Throughput:
    flows: dict[str, Flow] = {}
    windows: list[Window] = []
    for way in ("forward", "backward", *(["both"] if settings.both else [])):
        result, window = with_server(target, partial(_run, target, settings, trial, way))
        flows[way] = _flow(target, result, "")
        if way == "both":
            flows["both back"] = _flow(target, result, "_bidir_reverse")
        windows += [] if window is None else [window]
    both = (flows["both"], flows["both back"]) if settings.both else None
    return Throughput(flows["forward"], flows["backward"], both, tuple(windows))


def _run(
    target: Target, settings: ThroughputSettings, trial: Surroundings, way: str, server: Server
) -> tuple[dict[str, Any], Window | None]:
    flag = {"forward": [], "backward": ["-R"], "both": ["--bidir"]}[way]
    times = {"omit_s": settings.omit_s, "duration_s": settings.duration_s}
    arguments = ["-J", "-t", str(settings.duration_s), "-O", str(settings.omit_s), "-P", str(settings.streams), *flag]
    client = client_of(target, server, arguments, f"iperf3-{way}.json")
    try:
        window = watch_load(target, trial, client, way, port=PORT, **times)
        return finish(target, server, client, settings.duration_s + settings.omit_s), window
    finally:
        client.stop()


def _flow(target: Target, result: dict[str, Any], suffix: str) -> Flow:
    measured = parse_iperf3(result, suffix)
    if measured is None:
        what = f"iperf3 {target.src} to {target.dst}"
        raise OverlayError(f"{what}: the receiver's figures never came: {result.get('error', '')}")
    return measured


@dataclass(frozen=True)
class Moved:
    """A pair's throughput, and what the throughput of all pairs together cost."""

    throughput: Throughput
    cost: tuple[Measurement, ...]


class ThroughputProbe(Probe[ThroughputSettings, Moved]):
    """TCP, over interfaces and streams alike; all pairs one after the other, between two looks at what it costs."""

    name = "throughput"
    order = 30
    settings = ThroughputSettings
    needs = frozenset({"interface", "stream"})
    turn = "exclusive"
    doing = "measuring throughput"
    at_once = True
    of_cell = (OfCell("tcp_throughput_mbit", "underlay_tcp_throughput_mbit", "tcp_throughput_ratio"),)
    metrics = (
        Metric(
            "tcp_throughput_mbit",
            "Mbit/s",
            "TCP goodput through the overlay from src to dst, without the warm-up.",
            "RFC 6349",
            better="higher",
            in_tables=True,
        ),
        Metric(
            "tcp_throughput_both_mbit",
            "Mbit/s",
            "TCP goodput from src to dst while TCP fills the other direction as well.",
            "RFC 6349",
            better="higher",
            in_tables=True,
        ),
        Metric(
            "underlay_tcp_throughput_mbit",
            "Mbit/s",
            "TCP goodput without overlay, in the same lab (with `baseline: cell`: in the same cell).",
            "RFC 6349",
            in_tables=True,
        ),
        Metric(
            "tcp_throughput_ratio",
            "1",
            "TCP goodput through the overlay as a share of the underlay's in the same lab (with `baseline: cell`: "
            "in the same cell).",
            "RFC 6349",
            better="higher",
            in_tables=True,
        ),
        Metric("tcp_received_bytes", "B", "TCP payload received in the measured time.", "iperf3(1)"),
        Metric("tcp_sent_bytes", "B", "TCP payload that the sender handed to TCP in the measured time.", "iperf3(1)"),
        Metric(
            "tcp_retransmissions",
            "count",
            "Segments that the sender's TCP retransmitted in the measured time.",
            "RFC 6349 section 4.1 (TCP efficiency)",
            better="lower",
            min_absolute=10.0,
            in_tables=True,
        ),
        *COST_METRICS,
        *OVERHEAD_METRICS,
    )
    shows = Shown(
        chapters=(Chapter("throughput", "Throughput and cost", place=30, always=True),),
        tables=(
            *COST_SHOWN.tables,
            Table(
                "again",
                "TCP retransmissions",
                "throughput",
                "Segments retransmitted in the measured time, mean of both directions.",
            ),
        ),
        columns=(
            Column(OVERVIEW, "TCP (Mbit/s)", "tcp_throughput_mbit", digits=1, always=True),
            Column(OVERVIEW, "TCP / underlay's", "tcp_throughput_ratio", "percent", of_underlay=False, always=True),
            Column("load", "TCP both ways (Mbit/s)", "tcp_throughput_both_mbit", digits=1),
            Column("again", "retransmissions", "tcp_retransmissions", digits=0),
            *COST_SHOWN.columns,
        ),
        plots=(
            Plot("strip", "throughput", "tcp_throughput_mbit", "TCP throughput", "Mbit/s", _BOTH_WAYS),
            Plot(
                "strip",
                "throughput",
                "tcp_throughput_ratio",
                "TCP throughput against the underlay",
                label="share of the underlay's",
                of_underlay=False,
                ratio=True,
            ),
            Plot(
                "strip",
                "throughput",
                "tcp_throughput_both_mbit",
                "TCP throughput, both ways at once",
                label="Mbit/s",
                caption=_BOTH_WAYS,
            ),
            *COST_SHOWN.plots,
        ),
    )

    def measure(self, target: Target, settings: ThroughputSettings, trial: Surroundings) -> Moved:
        """Measure one pair and its cost."""
        return self.measure_all([target], settings, trial)[target.pair]

    def measure_all(
        self, targets: Sequence[Target], settings: ThroughputSettings, trial: Surroundings
    ) -> dict[Pair, Moved]:
        """Measure all pairs, and what all of it cost while it was steady."""
        found = {target.pair: measure_throughput(target, settings, trial) for target in targets}
        windows = [window for one in found.values() for window in one.windows]
        readings = targets[0].folder / f"{targets[0].label}-cost.json"
        readings.write_text(readings_text(windows))
        topology = targets[0].lab.topology
        moved = sum(window.moved_bytes for window in windows)
        places = exits(topology)
        cost = (
            *summarise_cost(windows, str(readings), len(topology.members) - 1),
            *summarise_overhead(carried_in(windows), moved, **places, evidence=str(readings)),
            *summarise_edge(windows, str(readings)),
        )
        return {pair: Moved(one, cost) for pair, one in found.items()}

    def over_underlay(self, settings: ThroughputSettings) -> bool:
        """Tell whether the baseline is that of the lab."""
        return settings.baseline == "lab"

    def why_no_baseline(self, target: Target, found: Moved, settings: ThroughputSettings) -> str | None:
        """Say which way no byte of TCP came through; a tool that is cut off says so itself."""
        del settings
        flows = found.throughput.forward, found.throughput.backward
        ways = zip((f"{target.src} to {target.dst}", f"{target.dst} to {target.src}"), flows, strict=True)
        dead = [way for way, flow in ways if not flow.received_bytes]
        return f"carried no TCP from {' and '.join(dead)}" if dead else None

    def summarise(self, found: Found[Moved], settings: ThroughputSettings) -> list[Measurement]:
        """Summarise by `summarise_throughput`."""
        del settings
        below = None if found.underlay is None else found.underlay.throughput
        return summarise_throughput(found.target, found.overlay.throughput, below)

    def summarise_trial(self, found: Sequence[Found[Moved]], settings: ThroughputSettings) -> Sequence[Measurement]:
        """Return the cost, which is that of all pairs."""
        del settings
        return found[0].overlay.cost
