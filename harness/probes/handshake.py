"""The handshake probe: what an overlay sends over the underlay from its deployment until its members are connected.

It measures nothing itself: the tap at the members' ports has run since before the first daemon was started, and the
path probe has told when each pair was connected. The pings by which it was told are in the figures; how many bytes of
them there can be at most is a figure of its own.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.probes.contract import (
    Chapter,
    Column,
    Found,
    Measurement,
    Metric,
    Pair,
    Probe,
    ProbeSettings,
    Shown,
    Surroundings,
    Table,
    Target,
)
from harness.probes.measurement import figure_of
from harness.probes.pings import Ping, from_csv

if TYPE_CHECKING:
    from harness.lab.tap import Passing
    from harness.model.family import Address


@dataclass(frozen=True)
class Port:
    """What passed a member's port, in order: Unix time in s, IP bytes, whether the other end is a server."""

    passed: tuple[tuple[float, int, bool], ...]

    def until(self, moment_s: float) -> tuple[int, int, int]:
        """Return IP bytes and packets of all that passed by then, and the bytes to and from servers."""
        by_then = [one for one in self.passed if one[0] <= moment_s]
        servers = sum(size for _, size, of_server in by_then if of_server)
        return sum(size for _, size, _ in by_then), len(by_then), servers


@dataclass(frozen=True)
class Watched:
    """All members' ports, and the pings of every pair; `evidence` is the file that tells of them."""

    ports: Mapping[str, Port]
    pings: Mapping[Pair, Sequence[Ping]]
    evidence: str


class HandshakeSettings(ProbeSettings):
    """What the overlay sends until its members are connected. It has no settings and takes no time of its own.

    The figure includes the path probe's pings up to the first answer; `path: {interval_ms: 1000}` keeps them few.
    """

    def own_time_s(self) -> float:
        """Return how long the probe may rightly take for one pair."""
        return 1.0


class HandshakeProbe(Probe[HandshakeSettings, Watched]):
    """All members at once, after the path probe's pings, so interfaces."""

    name = "handshake"
    order = 1
    settings = HandshakeSettings
    # The path of streams or contents is found by kilobytes or a megabyte of our own: they would hide a handshake.
    needs = frozenset({"interface"})
    builds_on = frozenset({"path"})
    turn = "waiting"
    doing = "counting the handshake"
    at_once = True
    repeatable = False
    minds_lateness = False
    metrics = (
        Metric(
            "handshake_bytes",
            "B",
            "IP bytes that a member sends and receives over the underlay from the start of its daemon until all its "
            "pairs are connected, the path probe's pings included; mean over the members.",
            "this project",
            better="lower",
            min_absolute=500.0,
            in_tables=True,
        ),
        Metric(
            "handshake_packets",
            "count",
            "Packets that a member sends and receives over the underlay in the same time; mean over the members.",
            "this project",
            better="lower",
            min_absolute=4.0,
            in_tables=True,
        ),
        Metric(
            "handshake_server_bytes",
            "B",
            "IP bytes between all members and the server (with its helpers) in the same time.",
            "this project",
            better="lower",
            min_absolute=500.0,
            in_tables=True,
        ),
        Metric(
            "handshake_ping_bytes",
            "B",
            "Upper bound of the part of `handshake_bytes` that is the path probe's own pings: IP bytes of the pings "
            "to and from a member in that time; mean over the members.",
            "this project",
            in_tables=True,
        ),
    )
    shows = Shown(
        chapters=(Chapter("handshake", "Joining", place=12),),
        tables=(
            Table(
                "handshake",
                "Cost of joining",
                "handshake",
                "From the daemons' start until all pairs are connected: mean over the members. Pings' bytes: at "
                "most this many of the bytes are the probe's own pings.",
            ),
        ),
        columns=(
            Column("handshake", "bytes", "handshake_bytes", digits=0),
            Column("handshake", "packets", "handshake_packets", digits=0),
            Column("handshake", "server's bytes", "handshake_server_bytes", digits=0),
            Column("handshake", "pings' bytes", "handshake_ping_bytes", digits=0),
        ),
    )

    def measure(self, target: Target, settings: HandshakeSettings, trial: Surroundings) -> Watched:
        """Read what is known of one pair."""
        return self.measure_all([target], settings, trial)[target.pair]

    def measure_all(
        self, targets: Sequence[Target], settings: HandshakeSettings, trial: Surroundings
    ) -> dict[Pair, Watched]:
        """Read what has passed the members' ports, and the pings of the path probe."""
        del settings
        lab = targets[0].lab
        topology = lab.topology
        nodes = [*([topology.server] if topology.server else []), *topology.helpers]
        servers = frozenset(address for node in nodes for address in topology.hosts[node].addresses)
        ports = {
            name: port_of(trial.tap.seen(lab.port_of(name)), frozenset(topology.hosts[name].addresses), servers)
            for name in sorted({name for target in targets for name in target.pair})
        }
        files = {target.pair: target.evidence("pings.csv") for target in targets}
        pings = {pair: from_csv(file.read_text()) for pair, file in files.items() if file.exists()}
        evidence = targets[0].folder / "handshake.json"
        evidence.write_text(json.dumps({name: port.passed for name, port in ports.items()}))
        watched = Watched(ports, pings, str(evidence))
        return {target.pair: watched for target in targets}

    def summarise(self, found: Found[Watched], settings: HandshakeSettings) -> list[Measurement]:
        """Return nothing of a single pair: a member's packets to a server are not any pair's."""
        del found, settings
        return []

    def summarise_trial(self, found: Sequence[Found[Watched]], settings: HandshakeSettings) -> list[Measurement]:
        """Return the mean member's bytes and packets, and the server's bytes; nothing where a pair never connected."""
        del settings
        watched = found[0].overlay
        connected: dict[str, float] = {}
        for one in found:
            path = one.earlier.get("path")
            if path is None or path.connected_s is None:
                return []
            for member in one.target.pair:
                connected[member] = max(connected.get(member, 0.0), path.connected_s)
        totals = [watched.ports[member].until(moment) for member, moment in connected.items()]
        pings = [ping_bytes(member, moment, watched.pings) for member, moment in connected.items()]
        figure = figure_of(None, self.name, watched.evidence)
        return [
            figure("handshake_bytes", statistics.fmean(total for total, _, _ in totals)),
            figure("handshake_packets", statistics.fmean(packets for _, packets, _ in totals)),
            figure("handshake_server_bytes", sum(servers for _, _, servers in totals)),
            figure("handshake_ping_bytes", statistics.fmean(pings)),
        ]


def port_of(seen: Sequence[Passing], own: Collection[Address], servers: Collection[Address]) -> Port:
    """Return what of a port's traffic is the member's. Pure."""
    mine = [one for one in seen if one.src in own or one.dst in own]
    return Port(tuple((one.t, one.ip_bytes, one.src in servers or one.dst in servers) for one in mine))


def ping_bytes(member: str, moment_s: float, pings: Mapping[Pair, Sequence[Ping]]) -> int:
    """Return the IP bytes of a member's pings sent by then, and of their answers that had come by then. Pure."""
    mine = [ping for pair, of_pair in pings.items() if member in pair for ping in of_pair]
    asked = sum(ping.ip_bytes for ping in mine if ping.sent_s <= moment_s)
    # An answer may be under way: one that comes just after the moment may have passed the other end's port before it.
    answered = sum(ping.ip_bytes for ping in mine if ping.sent_s <= moment_s and ping.answered_s is not None)
    return asked + answered
