"""One world: an Internet with some members on it, an engine's network, and what came of every pair. No I/O."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.model.words import Verdict
from harness.simulation.contract import Abilities, Crypto, SimulatedEngine, SimulatedNetwork
from harness.simulation.internet import IDEAL, Host, Internet, Link, Packet, PlainEndpoint, Router
from harness.simulation.population import Access, AccessLink

PROBE_LEN = 517
_ROOM = 100
"""What tunnel and relay add to a probe, at most; searches for path MTUs send more."""
LOOK_S = 0.001
ANSWER_S = 3.0
"""So long a probe may take after the deadline; a way that carries nothing by then is none."""


@dataclass(frozen=True)
class WorldSpec:
    """A world to run; worlds of equal specs are equal, event by event."""

    members: tuple[Access, ...]
    shared_layers: int
    abilities: Abilities
    ipv6: bool
    seed: str
    deadline_s: float
    apart_s: float
    crypto: Crypto
    server: AccessLink


@dataclass(frozen=True)
class PairResult:
    """What came of two members, by number; times in seconds from the last member's start, None: not by the deadline."""

    src: int
    dst: int
    connect_s: float | None
    direct_s: float | None
    verdict: Verdict
    claimed: Verdict


@dataclass
class WorldResult:
    """A world's end. `seconds` is simulated time, server traffic is in UDP payloads."""

    pairs: list[PairResult] = field(default_factory=list)
    seconds: float = 0.0
    events: int = 0
    server_messages: int = 0
    server_bytes: int = 0


def run_world(spec: WorldSpec, engine: SimulatedEngine) -> WorldResult:
    """Start everybody, wait until all pairs are direct or the deadline has come, then ask the wires."""
    rng = random.Random(spec.seed)
    internet = Internet(rng)
    hosts = attach(internet, spec.members, spec.shared_layers, ipv6=spec.ipv6)
    network = engine.network(internet, hosts, rng, spec.abilities, spec.crypto)
    for host in network.server_hosts():
        host.link = link_of(spec.server)
    begin = _start_all(internet, network, len(hosts), spec.apart_s, rng)
    internet.events.run(begin)
    connect, direct = _watch(internet, network, len(hosts), spec.deadline_s)
    result = WorldResult(server_messages=sum(host.sent for host in network.server_hosts()))
    result.server_bytes = sum(host.sent_bytes for host in network.server_hosts())
    wire = _Wire(internet)
    for src, dst in itertools.combinations(range(len(hosts)), 2):
        ways = [wire.way(network, hosts, *way) for way in ((src, dst), (dst, src))]
        claims = network.claim(src, dst), network.claim(dst, src)
        result.pairs.append(
            PairResult(src, dst, connect.get((src, dst)), direct.get((src, dst)), _both(*ways), _both(*claims))
        )
    result.seconds, result.events = internet.events.now, internet.events.happened
    return result


def attach(internet: Internet, members: Sequence[Access], shared_layers: int, *, ipv6: bool) -> list[Host]:
    """Attach hosts behind routers of their own, but for the outermost `shared_layers`, which are the same for all."""
    common: Router | None = None
    if shared_layers:
        for behaviour in reversed(members[0].behaviours[-shared_layers:]):
            common = internet.router(behaviour, common, carrier=len(members[0].routers) > 1)
    hosts = []
    for access in members:
        above, link = _routers(internet, access, common, shared_layers)
        hosts.append(internet.host(above, _nobody, link, ipv6=ipv6 and access.ipv6))
    return hosts


def roam(internet: Internet, host: Host, access: Access, *, ipv6: bool) -> None:
    """Put a host behind other routers of the same kind, with other addresses."""
    above, host.link = _routers(internet, access, None, 0)
    internet.move(host, above, ipv6=ipv6 and access.ipv6)


def _routers(
    internet: Internet, access: Access, common: Router | None, shared_layers: int
) -> tuple[Router | None, Link]:
    """Return the nearest router of a new host, and the host's own link."""
    above, link = common, link_of(access.link)
    own = access.behaviours[: len(access.routers) - shared_layers]
    for number, behaviour in reversed(list(enumerate(own))):
        above = internet.router(behaviour, above, link, carrier=number > 0)
        link = IDEAL
    return above, link


def link_of(link: AccessLink) -> Link:
    """Return a file's link in seconds and shares."""
    return Link(link.delay_ms / 1000, link.jitter_ms / 1000, link.loss_percent / 100, reorders=link.reorders)


def _nobody(datagram: bytes, source: PlainEndpoint, port: int) -> None:
    """Drop a datagram that comes before there is a listener."""


def _start_all(internet: Internet, network: SimulatedNetwork, count: int, apart_s: float, rng: random.Random) -> float:
    """Start each member at a random time; returns the last."""
    starts = [rng.random() * apart_s for _ in range(count)]
    for member, at in enumerate(starts):
        internet.events.at(at, lambda member=member: network.start(member))  # type: ignore[misc]
    return max(starts)


Times = dict[tuple[int, int], float]


def _watch(internet: Internet, network: SimulatedNetwork, count: int, deadline_s: float) -> tuple[Times, Times]:
    """Look when each pair is connected, and when direct, both ways: after an event, but once a millisecond."""
    connect: Times = {}
    direct: Times = {}
    waiting = list(itertools.combinations(range(count), 2))
    events, begin, claim = internet.events, internet.events.now, network.claim
    next_s = begin

    def all_direct() -> bool:
        nonlocal next_s
        if events.now < next_s:
            return False
        next_s, done = events.now + LOOK_S, False
        for pair in waiting:
            claims = claim(*pair), claim(pair[1], pair[0])
            if "none" in claims:
                continue
            connect.setdefault(pair, events.now - begin)
            if claims == ("direct", "direct"):
                direct[pair] = events.now - begin
                done = True
        if done:
            waiting[:] = [pair for pair in waiting if pair not in direct]
        return not waiting

    events.run(deadline_s, all_direct)
    return connect, direct


class _Wire:
    """Follows a probe from host to host: the verdict is what was carried, not what an engine says."""

    def __init__(self, internet: Internet) -> None:
        self._internet = internet
        self._hops: list[tuple[Host, Host]] = []
        self._number = 0
        internet.on_delivery = self._saw

    def _saw(self, sender: Host, host: Host, packet: Packet) -> None:
        if PROBE_LEN <= len(packet.payload) <= PROBE_LEN + _ROOM:
            self._hops.append((sender, host))

    def way(self, network: SimulatedNetwork, hosts: Sequence[Host], src: int, dst: int) -> Verdict:
        """Send a probe one way: over which hosts has it come?"""
        self._number += 1
        probe = f"probe {self._number} ".encode().ljust(PROBE_LEN, b".")
        end = self._internet.events.now + ANSWER_S
        while self._internet.events.now < end:  # one that was lost is sent again
            self._hops.clear()
            network.send(src, dst, probe)
            if self._internet.events.run(ANSWER_S / 3, lambda: network.has_received(dst, probe)):
                return "direct" if (hosts[src], hosts[dst]) in self._hops else "relayed"
        return "none"


def _both(one: Verdict, other: Verdict) -> Verdict:
    if "none" in (one, other):
        return "none"
    return one if one == other else "asymmetric"
