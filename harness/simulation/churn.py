"""A network over time: members leave, sleep, come back and roam; servers die. What it costs, and who reaches whom.

The load is counted where it arises: UDP payloads that hosts send, of servers and members apart.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace

from harness.simulation.contract import Abilities, SimulatedEngine, SimulatedNetwork
from harness.simulation.internet import Host, Internet
from harness.simulation.population import Churn, Population
from harness.simulation.state import state_bytes
from harness.simulation.world import PROBE_LEN, attach, link_of, roam


@dataclass(frozen=True)
class Sample:
    """How it stands at one moment, and what was sent since the one before.

    `server_up`: whether the servers ran meanwhile; what reaches a dead one counts as received. Pairs are of members
    that are both there, `settled` of those who have been for 30 s. As often as `server_state_bytes`, which is what the
    servers remember as Python objects, some settled pairs that say at both ends that they are connected are `probed`,
    both ways; `probed_carried` are those for which both probes came within a second, of those that stayed that long.
    """

    network: int
    at_s: float
    server_up: int
    members_up: int
    pairs: int
    pairs_connected: int
    pairs_direct: int
    pairs_settled: int
    settled_connected: int
    server_messages: int
    server_bytes: int
    member_messages: int
    member_bytes: int
    events: int
    server_received: int
    server_received_bytes: int
    server_state_bytes: int | None
    probed: int | None = None
    probed_carried: int | None = None


COLUMNS = tuple(field.name for field in fields(Sample))
SETTLED_S = 30.0
ANSWER_S = 1.0
STATES = 24
"""So many times in a run is looked at what servers remember, and whether what members say carries anything."""
PROBED = 20
"""So many pairs at most, drawn: probes of all would be a load of their own."""


def moments(churn: Churn) -> list[float]:
    """Return the times at which is looked, in seconds: evenly, at a server's death, and closely after its return."""
    count = math.ceil(churn.seconds / churn.every_s - 1e-9)
    found = {min(churn.every_s * number, churn.seconds) for number in range(1, count + 1)}
    if (down := churn.server_down) is not None:
        looks = range(math.floor(down.look_for_s / down.look_every_s + 1e-9) + 1)
        closely = {down.back_s + down.look_every_s * number for number in looks}
        found |= {down.at_s} | {at for at in closely if at < churn.seconds}
    return sorted(found)


def run_churn(population: Population, churn: Churn, number: int, engine: SimulatedEngine) -> list[Sample]:
    """Run one network; its members and all that happens depend on the population's seed and its number alone."""
    rng = random.Random(f"{population.seed}/churn/{number}")
    access = population.access
    names = rng.choices(list(access), [each.share for each in access.values()], k=churn.members)
    return _Network(population, churn, number, names=names, engine=engine).run()


class _Network:
    def __init__(
        self, population: Population, churn: Churn, number: int, *, names: Sequence[str], engine: SimulatedEngine
    ) -> None:
        rng = random.Random(f"{population.seed}/churn/{number}/events")
        self._churn, self._number, self._rng = churn, number, rng
        self._accesses = [population.access[name] for name in names]
        self._ipv6 = population.matrix.ipv6[-1]
        self._internet = Internet(rng)
        self._hosts: list[Host] = attach(self._internet, self._accesses, 0, ipv6=self._ipv6)
        abilities = Abilities(population.matrix.technique[-1], population.matrix.port_mapping[-1])
        self._network: SimulatedNetwork = engine.network(self._internet, self._hosts, rng, abilities, population.crypto)
        self._servers = list(self._network.server_hosts())
        for host in self._servers:
            host.link = link_of(population.server)
        self._since: dict[int, float] = {}
        """Since when each member is there."""
        self._server_up = self._was_up = True
        self._before: dict[str, int] = {}
        self._moved: set[int] = set()
        """Members that have come to another network while they were away."""
        self._probes = random.Random(f"{population.seed}/churn/{number}/probes")
        self._carried: dict[int, tuple[int, int]] = {}

    def run(self) -> list[Sample]:
        """Let the time pass, and look every so often."""
        churn, events = self._churn, self._internet.events
        for member in range(churn.members):
            events.at(self._rng.random() * churn.start_within_s, lambda member=member: self._comes(member))  # type: ignore[misc]
        if churn.server_down is not None:
            events.at(churn.server_down.at_s, self._servers_die)
            events.at(churn.server_down.at_s + churn.server_down.for_s, self._servers_return)
        samples = []
        at = moments(churn)
        for number, moment in enumerate(at, 1):
            events.run_to(moment)
            now_and_then = number % max(1, len(at) // STATES) == 0 or number == len(at)
            samples.append(self._sample(with_state=now_and_then))
            if now_and_then:
                self._probe(number - 1)
        events.run(ANSWER_S)
        counted = {
            number: dict(zip(("probed", "probed_carried"), both, strict=True)) for number, both in self._carried.items()
        }
        return [replace(sample, **counted.get(number, {})) for number, sample in enumerate(samples)]

    # What happens

    def _in(self, mean_s: float, member: int, what: str) -> None:
        at = self._internet.events.now + self._rng.expovariate(1.0 / mean_s)
        self._internet.events.at(at, lambda: getattr(self, what)(member))

    def _comes(self, member: int) -> None:
        self._network.start(member)
        self._is_there(member)
        if self._churn.roam_s:
            self._in(self._churn.roam_s, member, "_roams")

    def _is_there(self, member: int) -> None:
        self._since[member] = self._internet.events.now
        self._in(self._churn.up_s, member, "_goes")

    def _goes(self, member: int) -> None:
        del self._since[member]
        if self._rng.random() < self._churn.asleep_share:
            self._hosts[member].reachable = False
            self._in(self._churn.away_s, member, "_wakes")
        else:
            self._network.stop(member)
            self._in(self._churn.away_s, member, "_restarts")

    def _restarts(self, member: int) -> None:
        self._readdressed(member)
        self._network.start(member)
        self._is_there(member)

    def _wakes(self, member: int) -> None:
        self._hosts[member].reachable = True
        self._is_there(member)
        moved = self._readdressed(member)
        self._network.woken(member)
        if moved:
            self._network.address_changed(member)

    def _readdressed(self, member: int) -> bool:
        """Give a member that comes back from another network its addresses there; tell whether it does."""
        moved = member in self._moved
        if moved:
            self._moved.discard(member)
            roam(self._internet, self._hosts[member], self._accesses[member], ipv6=self._ipv6)
        return moved

    def _roams(self, member: int) -> None:
        self._moved.add(member)
        if member in self._since:
            self._readdressed(member)
            self._network.address_changed(member)
        self._in(self._churn.roam_s, member, "_roams")

    def _servers_die(self) -> None:
        self._server_up = False
        self._network.server_stops()

    def _servers_return(self) -> None:
        self._server_up = True
        self._network.server_starts()

    # What is seen

    def _sample(self, *, with_state: bool) -> Sample:
        now, claim = self._internet.events.now, self._network.claim
        pairs = connected = direct = settled = settled_connected = 0
        for a, b in itertools.combinations(sorted(self._since), 2):
            claims = claim(a, b), claim(b, a)
            both = "none" not in claims
            pairs += 1
            connected += both
            direct += claims == ("direct", "direct")
            if now - max(self._since[a], self._since[b]) >= SETTLED_S:
                settled += 1
                settled_connected += both
        totals = {
            "server_messages": sum(host.sent for host in self._servers),
            "server_bytes": sum(host.sent_bytes for host in self._servers),
            "server_received": sum(host.received for host in self._servers),
            "server_received_bytes": sum(host.received_bytes for host in self._servers),
            "member_messages": sum(host.sent for host in self._hosts),
            "member_bytes": sum(host.sent_bytes for host in self._hosts),
            "events": self._internet.events.happened,
        }
        load = {name: value - self._before.get(name, 0) for name, value in totals.items()}
        self._before = totals
        up, self._was_up = int(self._was_up), self._server_up
        state = sum(map(state_bytes, self._network.server_states())) if with_state else None
        return Sample(
            network=self._number,
            at_s=round(now, 6),
            server_up=up,
            members_up=len(self._since),
            pairs=pairs,
            pairs_connected=connected,
            pairs_direct=direct,
            pairs_settled=settled,
            settled_connected=settled_connected,
            server_state_bytes=state,
            **load,
        )

    def _probe(self, number: int) -> None:
        """Send a probe each way of some settled pairs that say that they are connected, and count a second later."""
        network, since, now = self._network, self._since, self._internet.events.now
        pairs = [
            pair
            for pair in itertools.combinations(sorted(since), 2)
            if now - max(since[end] for end in pair) >= SETTLED_S
            and "none" not in (network.claim(*pair), network.claim(*pair[::-1]))
        ]
        pairs = self._probes.sample(pairs, min(PROBED, len(pairs)))
        there = {member: since[member] for pair in pairs for member in pair}
        probes = {
            way: f"probe {number} {way[0]} {way[1]} ".encode().ljust(PROBE_LEN, b".")
            for pair in pairs
            for way in (pair, pair[::-1])
        }
        for way, probe in probes.items():
            network.send(*way, probe)

        def count() -> None:
            stayed = [pair for pair in pairs if all(since.get(end) == there[end] for end in pair)]
            came = [all(network.has_received(way[1], probes[way]) for way in (pair, pair[::-1])) for pair in stayed]
            self._carried[number] = len(stayed), sum(came)

        self._internet.events.at(now + ANSWER_S, count)


def as_csv(samples: Sequence[Sample], *, head: bool) -> str:
    """Return the lines of a CSV file."""
    lines = [",".join(COLUMNS)] if head else []
    rows = (("" if value is None else str(value) for value in astuple(each)) for each in samples)
    return "".join(line + "\n" for line in [*lines, *map(",".join, rows)])
