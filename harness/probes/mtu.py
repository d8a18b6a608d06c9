"""The MTU probe: what an overlay says it carries, what it does carry, and whether the difference vanishes in silence.

A packet with the don't-fragment bit that is too large must be answered by an ICMP error (RFC 1191, RFC 8201) or refused
by the sender's own interface; one that simply vanishes is a PMTU black hole (RFC 2923, RFC 8899 section 1.2).
"""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from harness.errors import CommandFailed, OverlayError
from harness.probes.contract import Found, Measurement, Probe, ProbeSettings, Surroundings, Target
from harness.probes.measurement import figure_of
from harness.results.declared import Chapter, Column, Metric, Plot, Shown, Table

if TYPE_CHECKING:
    from harness.model.family import Address

# IP and ICMP headers; what ping calls a size is the payload behind them.
_HEADERS = {4: 28, 6: 48}
# Every IPv4 host takes this much (RFC 791), every IPv6 path carries more; below it nothing is worth a search.
_SMALLEST = 576

# iputils: the first from a router, the second from the own interface or from what it has learned.
_TOO_LARGE = re.compile(r"frag(mentation)? needed|packet too big|message too long", re.IGNORECASE)

# Small packets first show what a path loses of itself, and how long it takes.
_SMALL_PINGS = 10
_SMALL_WAIT_S = 5.0
_RTTS = 3.0
# A size that arrives may be taken for a lost one so often, on a path that loses at most so much.
_MISTAKE, _WORST_LOSS = 1e-3, 0.8
_TRIP = re.compile(r" time=([\d.]+) ms")

Fate = Literal["arrived", "refused", "lost"]


@dataclass(frozen=True)
class PathMtu:
    """One direction, in bytes of IP packet.

    `offered` is the MTU of the interface that leads to the peer, `carried` the largest packet that arrived unfragmented
    (None: not even the smallest), `black_hole` whether some size that the interface takes is lost without an error.
    """

    offered: int
    carried: int | None
    black_hole: bool


def search(offered: int, fate_of: Callable[[int], Fate]) -> PathMtu:
    """Bisect for the largest packet that arrives. Pure but for `fate_of`, which tries one size."""
    silent = False

    def arrives(size: int) -> bool:
        nonlocal silent
        fate = fate_of(size)
        silent |= fate == "lost"
        return fate == "arrived"

    if arrives(offered):
        return PathMtu(offered, offered, False)
    low, high = _SMALLEST, offered
    if offered <= low or not arrives(low):
        return PathMtu(offered, None, silent)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if arrives(middle) else (low, middle)
    return PathMtu(offered, low, silent)


@dataclass(frozen=True)
class Patience:
    """How often a size is tried and how long each try is waited for, before it counts as lost for its size."""

    attempts: int
    timeout_s: float


def patience_for(attempts: int, timeout_s: float, sent: int, trips_s: Sequence[float]) -> Patience:
    """Return a longer and more persistent patience than asked for where small packets need it. Pure.

    Args:
        attempts: at least so many.
        timeout_s: at least so long.
        sent: how many small packets were sent.
        trips_s: the round trips of those that were answered.
    """
    lost = 1 - len(trips_s) / sent
    needed = attempts if lost <= 0 else math.ceil(math.log(_MISTAKE) / math.log(min(lost, _WORST_LOSS)))
    return Patience(max(attempts, needed), max(timeout_s, _RTTS * max(trips_s, default=0.0)))


class MtuSettings(ProbeSettings):
    """The largest packet that crosses the overlay unfragmented, and whether larger ones vanish silently.

    Each size is tried `attempts` times with the don't-fragment bit, waiting `timeout_s` each time, before it counts as
    lost. A path that loses small packets too gets more attempts, and one with long round trips a longer wait.
    """

    attempts: int = Field(default=3, ge=1, le=20)
    timeout_s: float = Field(default=1.0, ge=0.1, le=10)

    def own_time_s(self) -> float:
        """Return how long the probe may rightly take for one pair: every step of the bisection lost, both ways."""
        return 2 * 12 * self.attempts * self.timeout_s


class MtuProbe(Probe[MtuSettings, list[Measurement]]):
    """Pings with the don't-fragment bit, which need an interface.

    A size counts as carried when its echo came back, so the smaller of the two ways decides where they differ.
    """

    name = "mtu"
    order = 20
    settings = MtuSettings
    needs = frozenset({"interface"})
    turn = "shared"
    doing = "measuring the MTU"
    minds_lateness = False
    metrics = (
        Metric(
            "path_mtu_bytes",
            "B",
            "Largest IPv4 packet from src to dst whose echo came back unfragmented.",
            "RFC 1191, RFC 8899",
            better="higher",
            min_effect=0.01,
            in_tables=True,
            ways="smaller",
        ),
        Metric(
            "offered_mtu_bytes",
            "B",
            "MTU of the interface through which src reaches the peer.",
            "RFC 1191",
            in_tables=True,
            ways="smaller",
        ),
        Metric(
            "pmtu_black_hole",
            "1",
            "1 if packets that the interface accepts are dropped for their size without an error, else 0.",
            "RFC 2923",
            better="lower",
            estimator="proportion",
            in_tables=True,
            ways="larger",
            pairs="any",
        ),
    )
    shows = Shown(
        chapters=(Chapter("sizes", "Packet sizes", place=40),),
        tables=(
            Table(
                "sizes",
                "MTU offered and carried",
                "sizes",
                "Size of an IPv4 packet in bytes, of the direction that carries less. Black hole: packets that the "
                "interface accepts are dropped for their size without an error.",
            ),
        ),
        columns=(
            Column("sizes", "MTU offered", "offered_mtu_bytes", digits=0),
            Column("sizes", "carried", "path_mtu_bytes", digits=0),
            Column("sizes", "black holes", "pmtu_black_hole", "count"),
        ),
        plots=(
            Plot(
                "strip",
                "sizes",
                "path_mtu_bytes",
                "Largest packet carried",
                label="size of IPv4 packet (bytes)",
                caption="Of the direction that carries less.",
            ),
        ),
    )

    def measure(self, target: Target, settings: MtuSettings, trial: Surroundings) -> list[Measurement]:
        """Measure both directions; the output of every ping is kept.

        Raises:
            OverlayError: there is no route to the peer.
        """
        del trial
        figures = []
        for there in (target, target.reversed()):
            way = Way(target, settings.attempts, settings.timeout_s, there.src, there.destination)
            offered = way.offered()
            patience = way.patience()
            found = search(offered, lambda size, way=way, patience=patience: way.fate_of(size, patience))  # type: ignore[misc]
            figure = figure_of(there, "mtu", way.log)
            figures += [
                figure("offered_mtu_bytes", found.offered),
                figure("path_mtu_bytes", found.carried),
                figure("pmtu_black_hole", float(found.black_hole)),
            ]
        return figures

    def summarise(self, found: Found[list[Measurement]], settings: MtuSettings) -> list[Measurement]:
        """Return the search's results, which are the figures."""
        del settings
        return found.overlay


@dataclass(frozen=True)
class Way:
    """One direction of a pair, in the form that `search` takes."""

    target: Target
    attempts: int
    timeout_s: float
    src: str
    address: Address
    name: str = "mtu"

    @property
    def log(self) -> Path:
        """The file that has what every ping said."""
        return self.target.evidence(f"{self.name}-{self.src}.log")

    def offered(self) -> int:
        """Return the MTU of the interface that leads to the address."""
        node = self.target.lab.nodes[self.src]
        try:
            (route,) = json.loads(node.check_output(["ip", "-j", "route", "get", str(self.address)]))
            (link,) = json.loads(node.check_output(["ip", "-j", "link", "show", "dev", route["dev"]]))
        except CommandFailed as error:
            raise OverlayError(f"{self.src} has no route to {self.address}: {error}") from error
        return int(link["mtu"])

    def patience(self) -> Patience:
        """Return the patience that small packets on this path ask for."""
        node = self.target.lab.nodes[self.src]
        argv = ["ping", "-n", "-i", "0.1", "-c", str(_SMALL_PINGS), "-W", f"{_SMALL_WAIT_S:g}", str(self.address)]
        done = subprocess.run(node.enter(argv), capture_output=True, text=True, check=False)
        self._keep(f"## small packets, exit {done.returncode}", done.stdout + done.stderr)
        trips_s = [float(found) / 1000 for found in _TRIP.findall(done.stdout)]
        return patience_for(self.attempts, self.timeout_s, _SMALL_PINGS, trips_s)

    def _keep(self, head: str, said: str) -> None:
        with self.log.open("a") as file:
            file.write(f"{head}\n{said}")

    def fate_of(self, size: int, patience: Patience) -> Fate:
        """Return what became of packets of this size; an error message is believed before silence."""
        node = self.target.lab.nodes[self.src]
        payload = str(size - _HEADERS[self.address.version])
        argv = ["ping", "-n", "-M", "do", "-c", "1", "-W", f"{patience.timeout_s:g}", "-s", payload]
        for _ in range(patience.attempts):
            done = subprocess.run(node.enter([*argv, str(self.address)]), capture_output=True, text=True, check=False)
            said = done.stdout + done.stderr
            self._keep(f"## {size} bytes, exit {done.returncode}", said)
            if done.returncode == 0:
                return "arrived"
            if _TOO_LARGE.search(said):
                return "refused"
        return "lost"
