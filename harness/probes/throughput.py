"""The throughput probe: TCP by iperf3, one direction after the other, and both at once; its JSON is kept as it came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from harness.errors import OverlayError
from harness.probes.contract import (
    OVERVIEW,
    Chapter,
    Column,
    Found,
    Measurement,
    Metric,
    Pair,
    Plot,
    Probe,
    ProbeSettings,
    Shown,
    Surroundings,
    Target,
)
from harness.probes.cost import COST_METRICS, COST_SHOWN, moved_bytes, summarise_cost
from harness.probes.exits import exits
from harness.probes.iperf3 import Server, result_of, server_of
from harness.probes.overhead import OVERHEAD_METRICS, summarise_overhead

_BOTH_WAYS = "The mean of both directions."


class ThroughputSettings(ProbeSettings):
    """TCP throughput by iperf3, one direction after the other, over the overlay and over the underlay.

    `baseline: lab` measures the underlay in the very same lab, once the overlay has stopped; `cell` takes it from the
    underlay's own trial of the same cell and repeat, which halves the time that a trial needs the machine alone.
    `both` adds a run with both directions at once.
    """

    baseline: Literal["lab", "cell"] = "lab"
    duration_s: int = Field(default=5, ge=1, le=3600)
    omit_s: int = Field(default=0, ge=0, le=60)
    streams: int = Field(default=1, ge=1, le=64)
    both: bool = False

    def own_time_s(self) -> float:
        """How long the probe may rightly take for one pair."""
        return (3.0 if self.both else 2.0) * (self.duration_s + self.omit_s)

    @property
    def baseline_of_cell(self) -> bool:
        """See `ProbeSettings`."""
        return self.baseline == "cell"


@dataclass(frozen=True)
class Throughput:
    """What the receiver got, in Mbit/s, each way alone; `both` has the two directions of the run that filled both."""

    forward_mbit: float
    backward_mbit: float
    both: tuple[float, float] | None = None


def measure_throughput(target: Target, settings: ThroughputSettings) -> Throughput:
    """Run iperf3 both ways between `src` and `dst`.

    Raises:
        OverlayError: iperf3 could not connect or was cut off.
    """
    with server_of(target) as server:
        forward = _received(target, _run(target, settings, server, "forward"), "sum_received")
        backward = _received(target, _run(target, settings, server, "backward"), "sum_received")
        if not settings.both:
            return Throughput(forward, backward)
        at_once = _run(target, settings, server, "both")
        both = _received(target, at_once, "sum_received"), _received(target, at_once, "sum_received_bidir_reverse")
        return Throughput(forward, backward, both)


def _run(target: Target, settings: ThroughputSettings, server: Server, way: str) -> dict[str, Any]:
    flag = {"forward": [], "backward": ["-R"], "both": ["--bidir"]}[way]
    arguments = ["-t", str(settings.duration_s), "-O", str(settings.omit_s), "-P", str(settings.streams), *flag]
    return result_of(target, server, arguments, settings.duration_s + settings.omit_s, f"iperf3-{way}.json")


def _received(target: Target, result: dict[str, Any], key: str) -> float:
    measured = parse_iperf3(result, key)
    if measured is None:
        what = f"iperf3 {target.src} to {target.dst}"
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
    metrics = (
        Metric(
            "tcp_throughput_mbit",
            "Mbit/s",
            "TCP goodput through the overlay, src to dst, warm-up omitted.",
            "RFC 6349",
            better="higher",
            in_tables=True,
        ),
        Metric(
            "tcp_throughput_both_mbit",
            "Mbit/s",
            "TCP goodput src to dst while the other direction is filled as well.",
            "RFC 6349",
            better="higher",
            in_tables=True,
        ),
        Metric(
            "underlay_tcp_throughput_mbit",
            "Mbit/s",
            "TCP goodput without overlay: same lab, or with `baseline: cell` same cell.",
            "RFC 6349",
            in_tables=True,
        ),
        Metric(
            "tcp_throughput_ratio",
            "1",
            "TCP goodput through the overlay as a share of the underlay's: same lab, or with `baseline: cell` same "
            "cell.",
            "RFC 6349",
            better="higher",
            in_tables=True,
        ),
        *COST_METRICS,
        *OVERHEAD_METRICS,
    )
    shows = Shown(
        chapters=(Chapter("throughput", "Throughput and cost", place=30, always=True),),
        tables=COST_SHOWN.tables,
        columns=(
            Column(OVERVIEW, "TCP Mbit/s", "tcp_throughput_mbit", digits=1, always=True),
            Column(OVERVIEW, "TCP share", "tcp_throughput_ratio", "percent", of_underlay=False, always=True),
            Column("load", "TCP both ways Mbit/s", "tcp_throughput_both_mbit", digits=1),
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
        """One pair and its cost."""
        return self.measure_all([target], settings, trial)[target.pair]

    def measure_all(
        self, targets: Sequence[Target], settings: ThroughputSettings, trial: Surroundings
    ) -> dict[Pair, Moved]:
        """All pairs, and what all of it cost."""
        used, account = trial.usage(), trial.carried()
        found = {target.pair: measure_throughput(target, settings) for target in targets}
        moved = moved_bytes(found.values(), settings.duration_s + settings.omit_s)
        cost = (
            *summarise_cost(used, trial.usage(), moved),
            *summarise_overhead(trial.carried().since(account).counts, moved, **exits(targets[0].lab.topology)),
        )
        return {pair: Moved(one, cost) for pair, one in found.items()}

    def over_underlay(self, settings: ThroughputSettings) -> bool:
        """Where the baseline is that of the lab."""
        return settings.baseline == "lab"

    def summarise(self, found: Found[Moved], settings: ThroughputSettings) -> list[Measurement]:
        """See `summarise_throughput`."""
        del settings
        below = None if found.underlay is None else found.underlay.throughput
        return summarise_throughput(found.target, found.overlay.throughput, below)

    def summarise_trial(self, found: Sequence[Found[Moved]], settings: ThroughputSettings) -> Sequence[Measurement]:
        """The cost, which is that of all pairs."""
        del settings
        return found[0].overlay.cost
