"""One sequence of packets through the nftables router and through the simulated NAT: do they answer alike?"""

from __future__ import annotations

import random
from typing import Any

from harness.calibration.nat_ground import WAN_ADDRESSES, Ground
from harness.model.nat import Hairpinning, parse_nat
from harness.nat.discovery_setup import DiscoverySetup
from harness.nat.packet import Endpoint, Packet
from harness.nat.ports import RouterPorts, port_blocks
from harness.nat.simulated import SimulatedNat
from harness.nat.wire import Wire

Step = tuple[str, int, int]  # what ("out" or "in" or "hairpin"), which inside socket, which remote or mapping


def same_answers(ground: Ground, axes: dict[str, Any], steps: list[Step]) -> list[str]:
    """Send one sequence through the nftables router and through the simulated NAT; the steps at which they differ.

    External ports are drawn by different generators, so endpoints are compared by the order in which they first show.
    """
    behaviour = parse_nat(axes)
    ground.router(behaviour, 1)
    ports = RouterPorts("r-eth0", WAN_ADDRESSES, ("r-eth1",), ("10.45.0.0/24",))
    table = SimulatedNat(behaviour, addresses=WAN_ADDRESSES, rng=random.Random(3), blocks=port_blocks(behaviour, ports))
    wrong = []
    with Wire() as wire:
        setup = ground.setup(wire)
        real, simulated = _Real(setup), _Simulated(table, setup)
        for number, (what, inside, other) in enumerate(steps):
            if what == "hairpin" and simulated.would_be_martian(inside, other):
                continue
            got, wanted = (side.step(what, inside, other) for side in (real, simulated))
            if got != wanted:
                wrong.append(f"step {number} {what} {inside} {other}: router {got}, simulated {wanted}")
    return wrong


class _Names:
    """External endpoints by the order in which they first appear."""

    def __init__(self) -> None:
        self.known: list[Endpoint] = []

    def name(self, endpoint: Endpoint) -> str:
        if endpoint.address not in WAN_ADDRESSES:
            return f"{endpoint.address}:{endpoint.port}"
        if endpoint not in self.known:
            self.known.append(endpoint)
        return f"external {self.known.index(endpoint)}"


class _Real:
    """The nftables router, by real datagrams."""

    def __init__(self, setup: DiscoverySetup) -> None:
        self.setup = setup
        self.names = _Names()
        self.remotes = [(0, 0), (0, 1), (1, 0), (1, 1)]
        self.inside = [setup.open(host) for host in (0, 0, 1, 1)]

    def step(self, what: str, inside: int, other: int) -> str | None:
        bound = self.inside[inside]
        if what == "out":
            i, j = self.remotes[other]
            ask = self.setup.send(bound, self.setup.responder.endpoints[i][j])
            self.setup.wait_for([ask])
            return self.names.name(ask.mapped)
        if not self.names.known:
            return None
        target = self.names.known[other % len(self.names.known)]
        for each in self.inside:
            self.setup.inbox[each].clear()
        if what == "in":
            self.setup.responder.send(*self.remotes[inside], b"in", target)
        else:
            bound.sendto(b"hairpin", target)
        self.setup.wire.pump(lambda: any(self.setup.inbox[each] for each in self.inside), 0.03)
        for index, each in enumerate(self.inside):
            for _, source in self.setup.inbox[each]:
                return f"socket {index} from {self.names.name(self._place(source))}"
        return None

    def _place(self, source: Endpoint) -> Endpoint:
        """Inside sources by their socket's number: its port differs from run to run."""
        for index, each in enumerate(self.inside):
            if source == Endpoint(*each.getsockname()[:2]):
                return Endpoint("inside", index)
        return source


class _Simulated:
    """The same steps through the table."""

    def __init__(self, table: SimulatedNat, setup: DiscoverySetup) -> None:
        self.table = table
        self.names = _Names()
        self.remotes = [endpoint for row in setup.responder.endpoints for endpoint in row]
        self.inside = [Endpoint(setup.inside[n // 2].address, 5000 + n) for n in range(4)]
        self.now = 0.0
        self.owner: dict[Endpoint, int] = {}

    def would_be_martian(self, inside: int, other: int) -> bool:
        """Whether a host would get a packet from its own address, which Linux drops whatever the NAT did.

        A socket that talks to itself is left out as well: which of the two ends an entry is for is anybody's guess.
        """
        if not self.names.known:
            return False
        target = self.owner.get(self.names.known[other % len(self.names.known)], -1)
        if self.table.behaviour.hairpinning is Hairpinning.INTERNAL_SOURCE:
            return target // 2 == inside // 2
        return target == inside

    def step(self, what: str, inside: int, other: int) -> str | None:
        self.now += 0.01
        if what == "out":
            left = self.table.outbound(Packet(self.inside[inside], self.remotes[other]), self.now)
            assert left is not None
            back = self.table.inbound(Packet(self.remotes[other], left.source), self.now)
            assert back is not None
            self.owner[left.source] = inside
            return self.names.name(left.source)
        if not self.names.known:
            return None
        target = self.names.known[other % len(self.names.known)]
        if what == "in":
            came = self.table.inbound(Packet(self.remotes[inside], target), self.now)
        else:
            came = self.table.outbound(Packet(self.inside[inside], target), self.now)
        if came is None:
            return None
        source = came.source
        if what == "hairpin" and source not in self.inside:
            self.owner.setdefault(source, inside)
        if source in self.inside:
            source = Endpoint("inside", self.inside.index(source))
        return f"socket {self.inside.index(came.destination)} from {self.names.name(source)}"


def all_same_answers(ground: Ground, cases: list[tuple[dict[str, Any], list[Step]]]) -> list[list[str]]:
    """`same_answers` for many routers, one after the other."""
    return [same_answers(ground, axes, steps) for axes, steps in cases]
