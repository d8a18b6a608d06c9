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
"""So long all probes may take, which go out together at the deadline; a way that carries nothing by then is none."""
AGAIN_S = 1.0
"""So often one that has not come is sent again: a link may have lost it."""


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
    verdicts, claims = _Wire(internet, network, hosts).verdicts()
    for src, dst in itertools.combinations(range(len(hosts)), 2):
        there, back = (src, dst), (dst, src)
        times = connect.get(there), direct.get(there)
        result.pairs.append(
            PairResult(src, dst, *times, _both(verdicts[there], verdicts[back]), _both(claims[there], claims[back]))
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
    """Put a host behind other routers of the same kind, with other addresses.

    The old ones go where nobody else is behind them, or each move of a day would leave some, with their tables.
    """
    before = host.router
    above, host.link = _routers(internet, access, None, 0)
    internet.move(host, above, ipv6=ipv6 and access.ipv6)
    internet.remove_idle(before)


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
    """Follows probes from host to host: the verdict is what was carried, not what an engine says."""

    def __init__(self, internet: Internet, network: SimulatedNetwork, hosts: Sequence[Host]) -> None:
        self._internet, self._network, self._hosts = internet, network, hosts
        self._hops: set[tuple[Host, Host]] = set()
        self._news = False
        internet.on_delivery = self._saw

    def _saw(self, sender: Host, host: Host, packet: Packet) -> None:
        if PROBE_LEN <= len(packet.payload) <= PROBE_LEN + _ROOM:
            self._hops.add((sender, host))
            self._news = True

    def verdicts(self) -> tuple[dict[tuple[int, int], Verdict], dict[tuple[int, int], Verdict]]:
        """Send a probe each way of each pair, all now; return over which hosts they came, and what was said before.

        Who says that there is no way is believed: what might still be found is found after the deadline.
        """
        ways = list(itertools.permutations(range(len(self._hosts)), 2))
        claims: dict[tuple[int, int], Verdict] = {way: self._network.claim(*way) for way in ways}
        found: dict[tuple[int, int], Verdict] = dict.fromkeys(ways, "none")
        probes = {
            way: f"probe {number} ".encode().ljust(PROBE_LEN, b".")
            for number, way in enumerate(ways)
            if "none" not in (claims[way], claims[way[::-1]])
        }

        def all_came() -> bool:
            if not self._news:
                return not probes
            self._news = False
            for way in [way for way, probe in probes.items() if self._network.has_received(way[1], probe)]:
                del probes[way]
                src, dst = way
                found[way] = "direct" if (self._hosts[src], self._hosts[dst]) in self._hops else "relayed"
            return not probes

        for _ in range(round(ANSWER_S / AGAIN_S)):
            for way, probe in probes.items():
                self._network.send(*way, probe)
            if self._internet.events.run(AGAIN_S, all_came):
                break
        return found, claims


def _both(one: Verdict, other: Verdict) -> Verdict:
    if "none" in (one, other):
        return "none"
    return one if one == other else "asymmetric"
