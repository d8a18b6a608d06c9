"""A network over time: members leave, sleep, come back and roam; servers die. What it costs, and who reaches whom.

The load is counted where it arises: UDP payloads that hosts send, of servers and members apart.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

from harness.simulation.contract import Abilities, SimulatedEngine, SimulatedNetwork
from harness.simulation.internet import Host, Internet
from harness.simulation.population import Churn, Population
from harness.simulation.world import attach, link_of, roam


@dataclass(frozen=True)
class Sample:
    """How it stands at one moment, and what was sent since the one before.

    Pairs are of members that are both there; `settled` are those who have been for 30 s.
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


COLUMNS = tuple(field.name for field in fields(Sample))
SETTLED_S = 30.0


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
        self._server_up = True
        self._before = (0, 0, 0, 0, 0)

    def run(self) -> list[Sample]:
        """Let the time pass, and look every so often."""
        churn, events = self._churn, self._internet.events
        for member in range(churn.members):
            events.at(self._rng.random() * churn.start_within_s, lambda member=member: self._comes(member))  # type: ignore[misc]
        if churn.server_down is not None:
            events.at(churn.server_down.at_s, self._servers_die)
            events.at(churn.server_down.at_s + churn.server_down.for_s, self._servers_return)
        samples = []
        while events.now < churn.seconds - 1e-9:
            events.run(min(churn.every_s, churn.seconds - events.now))
            samples.append(self._sample())
        return samples

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
        self._network.start(member)
        self._is_there(member)

    def _wakes(self, member: int) -> None:
        self._hosts[member].reachable = True
        self._is_there(member)
        self._network.woken(member)

    def _roams(self, member: int) -> None:
        if member in self._since:
            roam(self._internet, self._hosts[member], self._accesses[member], ipv6=self._ipv6)
            self._network.address_changed(member)
        self._in(self._churn.roam_s, member, "_roams")

    def _servers_die(self) -> None:
        self._server_up = False
        self._network.server_stops()

    def _servers_return(self) -> None:
        self._server_up = True
        self._network.server_starts()

    # What is seen

    def _sample(self) -> Sample:
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
        totals = (
            sum(host.sent for host in self._servers),
            sum(host.sent_bytes for host in self._servers),
            sum(host.sent for host in self._hosts),
            sum(host.sent_bytes for host in self._hosts),
            self._internet.events.happened,
        )
        load = [now_ - then for now_, then in zip(totals, self._before, strict=True)]
        self._before = totals
        up = int(self._server_up)
        seen = (pairs, connected, direct, settled, settled_connected)
        return Sample(self._number, round(now, 6), up, len(self._since), *seen, *load)


def as_csv(samples: Sequence[Sample], *, head: bool) -> str:
    """Return the lines of a CSV file."""
    lines = [",".join(COLUMNS)] if head else []
    return "".join(line + "\n" for line in [*lines, *(",".join(map(str, astuple(each))) for each in samples)])
