"""The UDP probe: the highest rate without loss, found as RFC 2544 section 26.1 finds a device's throughput.

RFC 9097 calls the quantity UDP-based IP-layer capacity; here it is the payload that arrived, without any header.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import Field

from harness.errors import OverlayError
from harness.probes.contract import Found, Measurement, Probe, ProbeSettings, Surroundings, Target
from harness.probes.iperf3 import Server, result_of, with_server
from harness.probes.measurement import figure_of
from harness.results.declared import Column, Metric, Plot, Shown

# A dozen tries halve the interval more often than any resolution needs; what flaps for longer has no such rate.
_MOST_TRIES = 12


class UdpSettings(ProbeSettings):
    """UDP goodput without loss: the highest rate at which no more than `loss_percent` is lost, by binary search.

    Each try lasts `duration_s`. The search begins at `max_mbit` and ends when the highest rate that passed and the
    lowest that failed are within `resolution_percent` of each other. On a link that itself loses packets,
    `loss_percent: 0` finds next to nothing: choose a higher value.
    """

    duration_s: int = Field(default=1, ge=1, le=3600)
    max_mbit: float = Field(default=1000.0, gt=0, le=100_000)
    payload_bytes: int = Field(default=1200, ge=64, le=1400)
    loss_percent: float = Field(default=0.0, ge=0, lt=100)
    resolution_percent: float = Field(default=5.0, ge=0.5, le=50)

    def own_time_s(self) -> float:
        """Return how long the probe may rightly take for one pair: every try, each way."""
        return 2 * _MOST_TRIES * (self.duration_s + 1.0)


@dataclass(frozen=True)
class Try:
    """One offered rate in UDP payload (Mbit/s), what arrived of it, and the share that was lost."""

    offered_mbit: float
    received_mbit: float
    loss_ratio: float


def highest_rate(settings: UdpSettings, attempt: Callable[[float], Try]) -> tuple[Try | None, list[Try]]:
    """Return the best try within the allowed loss, None where there was none; and all tries in their order.

    The search starts at the top. What arrives of an overload is the first guess, which a shaped link makes a good one;
    from there on the interval is halved. Pure but for `attempt`.
    """
    tries: list[Try] = []
    low, high = 0.0, settings.max_mbit
    best: Try | None = None
    rate = high
    while len(tries) < _MOST_TRIES:
        seen = attempt(rate)
        tries.append(seen)
        if seen.loss_ratio * 100 <= settings.loss_percent:
            best, low = seen, rate
        else:
            high = rate
        if low >= high or (best is not None and (high - low) / high * 100 <= settings.resolution_percent):
            break
        guess = 0.99 * seen.received_mbit
        rate = guess if best is None and 0.1 * high < guess < 0.99 * high else (low + high) / 2
    return best, tries


class UdpProbe(Probe[UdpSettings, list[Measurement]]):
    """iperf3 over UDP, which needs an interface."""

    name = "udp"
    order = 50
    settings = UdpSettings
    needs = frozenset({"interface"})
    turn = "exclusive"
    doing = "seeking UDP goodput"
    metrics = (
        Metric(
            "udp_goodput_mbit",
            "Mbit/s",
            "UDP payload received at the highest rate at which no more is lost than the probe allows (by default "
            "nothing).",
            "RFC 2544 section 26.1, RFC 9097",
            better="higher",
            in_tables=True,
        ),
    )
    shows = Shown(
        columns=(Column("load", "UDP (Mbit/s)", "udp_goodput_mbit", digits=1),),
        plots=(
            Plot(
                "strip",
                "throughput",
                "udp_goodput_mbit",
                "UDP goodput without loss",
                label="UDP payload (Mbit/s)",
                caption="Mean of both directions.",
            ),
        ),
    )

    def measure(self, target: Target, settings: UdpSettings, trial: Surroundings) -> list[Measurement]:
        """Search for the highest rate in each direction.

        Raises:
            OverlayError: iperf3 could not connect or was cut off.
        """
        del trial
        figures = []
        for there, flags in ((target, ()), (target.reversed(), ("-R",))):
            way = _Way(target, settings, flags, f"iperf3-udp-{there.src}.json")
            best, _ = highest_rate(settings, way.attempt)
            figure = figure_of(there, "udp", target.evidence(way.evidence))
            figures.append(figure("udp_goodput_mbit", best.received_mbit if best else 0.0))
        return figures

    def summarise(self, found: Found[list[Measurement]], settings: UdpSettings) -> list[Measurement]:
        """Return the search's results, which are the figures."""
        del settings
        return found.overlay


@dataclass(frozen=True)
class _Way:
    """One direction of a pair, in the form that `highest_rate` takes."""

    target: Target
    settings: UdpSettings
    flags: tuple[str, ...]
    evidence: str

    def attempt(self, rate_mbit: float) -> Try:
        """Offer this rate for the probe's duration; again where the control connection was lost."""
        return with_server(self.target, partial(self._offer, rate_mbit), "iperf3-udp-server")

    def _offer(self, rate_mbit: float, server: Server) -> Try:
        size, seconds = self.settings.payload_bytes, self.settings.duration_s
        arguments = ["-u", "-b", f"{round(rate_mbit * 1e6)}", "-l", str(size), "-t", str(seconds)]
        result = result_of(self.target, server, [*arguments, *self.flags], seconds, self.evidence)
        found = parse_udp(result, rate_mbit)
        if found is None:
            what = f"iperf3 {self.target.src} to {self.target.dst}"
            raise OverlayError(f"{what}: the receiver's figures never came")
        return found


def parse_udp(result: dict[str, Any], offered_mbit: float) -> Try | None:
    """Return what the receiver counted, from iperf3's JSON; None when its figures were lost on the way.

    Loss is counted by the numbers in the packets, so what had not arrived at the end counts as lost only when a later
    packet came: the last packets of a queue do not.
    """
    end = result.get("end", {})
    seen = end.get("sum")
    if seen is None or not seen.get("packets"):
        return None
    loss = seen["lost_packets"] / seen["packets"]
    received = end.get("sum_received", seen)["bits_per_second"] / 1e6
    # iperf3 before 3.17 gives the sender's rate in `sum`; what was lost of it did not arrive.
    return Try(offered_mbit, min(received, seen["bits_per_second"] / 1e6 * (1 - loss)), loss)
