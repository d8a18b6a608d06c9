"""The path probe: does it connect, how soon, does it become direct, how soon, and which way does a burst go?"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from harness.probes.contract import (
    OVERVIEW,
    PUNCHING,
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
from harness.probes.verdict import IP_ICMP_HEADER_BYTES, first_direct_s, front_of, path_of_burst

if TYPE_CHECKING:
    from harness.lab.process import Daemon
    from harness.lab.tap import Tap
    from harness.model.words import Verdict

_REPLY = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from .*icmp_seq=(\d+)", re.MULTILINE)
_TRIP = re.compile(r" time=([\d.]+) ms$", re.MULTILINE)
_UNDER_WAY = 20
_SUMMARY = re.compile(r"(\d+) packets transmitted, (\d+) received")
_CHECK_EVERY_S = 0.02
_PUNCHES = ("mesh", "direct")
_OF_SUBJECT = {"of_underlay": False, "of_all_paths": True, "always": True}


class PathSettings(ProbeSettings):
    """Who carries the traffic, and how soon. The verdict is that of the lab's counters.

    `deadline_s` counts from the moment both daemons run. `burst_packets` of `payload_bytes` each are the traffic whose
    way the counters tell.
    """

    deadline_s: float = Field(default=15.0, gt=0, le=600)
    interval_ms: float = Field(default=50.0, ge=10, le=1000)
    payload_bytes: int = Field(default=900, ge=200, le=1200)
    burst_packets: int = Field(default=20, ge=5, le=1000)

    def own_time_s(self) -> float:
        """How long the probe may rightly take for one pair."""
        return self.deadline_s

    def conditions(self) -> dict[str, Any]:
        """Where a time was given up on is told with it."""
        return {"deadline_s": self.deadline_s}


class PathProbe(Probe[PathSettings, list[Measurement]]):
    """Pings over all pairs at once, so an interface: connecting happens once."""

    name = "path"
    order = 0
    settings = PathSettings
    needs = frozenset({"interface"})
    turn = "waiting"
    doing = "finding the path"
    at_once = True
    repeatable = False
    is_gate = True
    # Its own clock ticks every 50 ms; what it tells apart are seconds and addresses.
    minds_lateness = False
    metrics = (
        Metric(
            "connect_success",
            "1",
            "1 when an overlay packet was answered within the deadline, else 0.",
            "RFC 2678 (connectivity)",
            better="higher",
            estimator="proportion",
            in_tables=True,
            ways="smaller",
            pairs="all",
        ),
        Metric(
            "hole_punch_success",
            "1",
            "1 when ciphertext went directly both ways within the deadline, as router and relay counters saw it, "
            "else 0.",
            "RFC 5128, RFC 8445",
            better="higher",
            estimator="proportion",
            in_tables=True,
            ways="smaller",
            pairs="all",
        ),
        Metric(
            "time_to_connect_s",
            "s",
            "From both daemons running to the first answered overlay packet; censored at the deadline.",
            "this project",
            better="lower",
            estimator="censored median",
            min_absolute=0.1,
            in_tables=True,
        ),
        Metric(
            "time_to_direct_s",
            "s",
            "From both daemons running to the first answered overlay packet on a direct path; censored at the "
            "deadline.",
            "this project",
            better="lower",
            estimator="censored median",
            min_absolute=0.1,
            in_tables=True,
        ),
    )
    shows = Shown(
        columns=(
            Column(OVERVIEW, "hole punch", "hole_punch_success", "success", **_OF_SUBJECT),
            Column(OVERVIEW, "direct s", "time_to_direct_s", "time", **_OF_SUBJECT),
            Column(OVERVIEW, "path", "connect_success", "path", always=True),
            Column(OVERVIEW, "connect s", "time_to_connect_s", "time", always=True),
        ),
        plots=(
            Plot("time", PUNCHING, "time_to_direct_s", "Time to a direct path"),
            Plot("time", PUNCHING, "time_to_connect_s", "Time to the first answer"),
        ),
    )

    def measure(self, target: Target, settings: PathSettings, trial: Surroundings) -> list[Measurement]:
        """One pair alone."""
        return self.measure_all([target], settings, trial)[target.pair]

    def measure_all(
        self, targets: Sequence[Target], settings: PathSettings, trial: Surroundings
    ) -> dict[Pair, list[Measurement]]:
        """See `measure_paths`."""
        found: dict[Pair, list[Measurement]] = {target.pair: [] for target in targets}
        for one in measure_paths(targets, settings, trial.tap, trial.running_since):
            found[str(one.src), str(one.dst)].append(one)
        return found

    def summarise(self, found: Found[list[Measurement]], settings: PathSettings) -> list[Measurement]:
        """The verdicts are the figures."""
        del settings
        return found.overlay


def measure_paths(
    targets: Sequence[Target], probe: PathSettings, tap: Tap, running_since: float
) -> Iterator[Measurement]:
    """Ping over all pairs at once until each path is what the mode can hope for, then judge a burst of each.

    Args:
        tap: watches the ports of all members since before the daemons started.
        running_since: Unix time at which the daemons ran; times count from here, the deadline too.
    """
    deadline = running_since + probe.deadline_s
    watches = [_Watch(target, probe, tap, deadline) for target in targets]
    try:
        while time.time() < deadline and sum(watch.settled() for watch in watches) < len(watches):
            time.sleep(_CHECK_EVERY_S)  # both sources are logs that grow; nobody announces "direct"
    finally:
        for watch in watches:
            watch.stop()
    for watch in watches:
        yield from watch.conclude(running_since)


class _Watch:
    """One pair's pings, and what has been seen of them so far."""

    def __init__(self, target: Target, probe: PathSettings, tap: Tap, deadline: float) -> None:
        self._target, self._probe, self._tap, self._deadline = target, probe, tap, deadline
        topology = target.lab.topology
        self._front, self._other = front_of(topology, target.src), front_of(topology, target.dst)
        self._port = target.lab.port_of(target.src)
        self._pinger = _pinger(target, probe)
        self._connected_at: float | None = None
        self._direct_at: float | None = None
        self._judged_at = 0.0

    def settled(self) -> bool:
        """Look; True once nothing more is to be hoped for. The pings stop then."""
        if self._connected_at is None and (reply := _REPLY.search(self._pinger.text)):
            self._connected_at = float(reply.group(1))
        punches = self._target.mode in _PUNCHES
        if self._connected_at is not None and punches and self._direct_at is None:
            seen = [one for one in self._tap.seen(self._port) if one.t > self._judged_at]
            self._direct_at = first_direct_s(seen, self._front, self._other, self._probe.payload_bytes)
        done = self._connected_at is not None and (self._direct_at is not None or not punches)
        if done:
            self._pinger.stop()
        return done

    def stop(self) -> None:
        """End the pings."""
        self._pinger.stop()

    def conclude(self, running_since: float) -> Iterator[Measurement]:
        """Judge a burst and say what came out."""
        target, probe = self._target, self._probe
        failed = self._connected_at is None or self._connected_at > self._deadline
        verdict: Verdict = "none" if failed else self._judge()
        punched = self._direct_at is not None and verdict == "direct"
        error = f"no overlay packet was answered within {probe.deadline_s:g} s" if failed else None

        def figure(metric: str, unit: str, value: float | None) -> Measurement:
            return Measurement(
                probe="path",
                metric=metric,
                unit=unit,
                value=value,
                src=target.src,
                dst=target.dst,
                outcome="failed" if failed else "ok",
                path=verdict,
                evidence=str(target.evidence("ping.log")),
                error=error,
            )

        yield figure("connect_success", "1", 0.0 if failed else 1.0)
        yield figure("time_to_connect_s", "s", None if failed else _after(self._connected_at, running_since))
        if target.mode in _PUNCHES:
            yield figure("hole_punch_success", "1", float(punched))
            yield figure("time_to_direct_s", "s", _after(self._direct_at if punched else None, running_since))

    def _judge(self) -> Verdict:
        """A burst alone proves that traffic has moved: an overlay's own probes may be of the ping's size.

        Where it has not, the pair goes on pinging until it has or the time is over. All other pairs are silent by now.
        """
        verdict = self._burst()
        while verdict != "direct" and self._target.mode in _PUNCHES and self._direct_at is not None:
            self._direct_at, self._judged_at = None, time.time()
            self._pinger = _pinger(self._target, self._probe)
            try:
                while time.time() < self._deadline and not self.settled():
                    time.sleep(_CHECK_EVERY_S)
            finally:
                self._pinger.stop()
            verdict = self._burst()
        return verdict

    def _burst(self) -> Verdict:
        """Judge a burst once the last ping has come home: on a long path several are under way, on the old one yet."""
        trips_ms = [float(found) for found in _TRIP.findall(self._pinger.text)]
        time.sleep(max(trips_ms[-_UNDER_WAY:], default=0.0) / 1000)
        return judge_burst(self._target, self._probe)


def judge_burst(target: Target, probe: PathSettings) -> Verdict:
    """Send a burst of pings and read from the counters which way it went; `none` when under half were answered."""
    from harness.lab import counters  # noqa: PLC0415  # a lab's; this module is read by reports as well

    before = counters.read()
    count = probe.burst_packets
    argv = ["ping", "-n", "-q", "-i", "0.01", "-c", str(count), "-W", "1", "-s", str(probe.payload_bytes)]
    burst = target.start(target.src, [*argv, str(target.destination)], "burst.log")
    burst.wait(count * 0.2 + 10)
    burst.stop()
    grown = counters.since(before, counters.read())
    lines = [f"{flow.segment} {flow.src} > {flow.dst} {size} bytes\n" for flow, size in grown.items()]
    target.evidence("burst-flows.txt").write_text("".join(lines))
    answered = _SUMMARY.search(burst.text)
    if answered is None or int(answered.group(2)) * 2 < count:
        return "none"
    topology = target.lab.topology
    inner = int(answered.group(2)) * (probe.payload_bytes + IP_ICMP_HEADER_BYTES)
    return path_of_burst(grown, front_of(topology, target.src), front_of(topology, target.dst), inner)


def _pinger(target: Target, probe: PathSettings) -> Daemon:
    # No -w: with it ping ends at the first ICMP error, and an overlay that is not up yet may well answer with one.
    argv = [
        *("ping", "-n", "-D", "-O", "-i", f"{probe.interval_ms / 1000:g}", "-s", str(probe.payload_bytes)),
        str(target.destination),
    ]
    return target.start(target.src, argv, "ping.log")


def _after(moment: float | None, start: float) -> float | None:
    return None if moment is None else max(0.0, moment - start)
