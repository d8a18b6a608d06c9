"""What happens to hosts and routers, in the simulated world: addresses that change, sleep, servers that come back."""

from __future__ import annotations

from typing import Any

from harness.nat.simulated import SimulatedNat
from overlays.refmesh.simulation.world import NODE_PORT, World
from overlays.refmesh.wire.control import Endpoint

EVERY_S = 0.2


class Roaming(World):
    """A world whose nodes move."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.asleep: set[str] = set()
        self._numbers = 0

    def router_moves(self, name: str) -> None:
        """The router of a node gets another public address and forgets its mappings; nobody tells the node."""
        nat = self.nats[name]
        assert nat is not None
        old = next(public for public, behind in self._nat_at.items() if behind == name)
        public = old.removesuffix(".1") + f".{self.rng.randrange(2, 250)}"
        del self._nat_at[old]
        self._nat_at[public] = name
        self.nats[name] = SimulatedNat(nat.behaviour, addresses=[public], rng=self.rng)

    def interface_moves(self, name: str) -> None:
        """A node's interface gets another address, and the node is told by its kernel."""
        del self._node_at[self.address[name], NODE_PORT]
        old = self.address[name]
        self.address[name] = f"{old.rpartition('.')[0]}.{self.rng.randrange(3, 250)}"
        if self._nat_at.pop(old, None):
            self._nat_at[self.address[name]] = name
        self._node_at[self.address[name], NODE_PORT] = name
        self.nodes[name].network_changed([("host", self.address[name], NODE_PORT)], self.now)
        self._settle_node(name)

    def sleep(self, name: str, seconds: float) -> None:
        """A machine sleeps: it hears nothing and does nothing, and its clock has gone on when it wakes."""
        self.asleep.add(name)
        self.run(seconds)
        self.asleep.discard(name)
        self._settle_node(name)

    def recovery_s(self, src: str, dst: str, limit_s: float = 60.0) -> float:
        """Seconds until the first of the questions that `src` asks from now on, five a second, has been answered.

        Raises:
            AssertionError: none within the limit.
        """
        begin = self.now
        while self.now < begin + limit_s:
            self._numbers += 1
            question = b"question %d" % self._numbers
            self.send(src, dst, question)
            end = self.now + EVERY_S
            while self.now < end:
                if self.run(end - self.now, lambda: any(p.endswith(question) for p in self.received[dst][-8:])):  # noqa: B023
                    self.send(dst, src, b"answer to " + question)
                    if self.run(EVERY_S, lambda: any(p.endswith(question) for p in self.received[src][-8:])):  # noqa: B023
                        return self.now - begin
        raise AssertionError(f"no answer from {dst} to {src} within {limit_s} s")

    def _settle_node(self, name: str) -> None:
        if name not in self.asleep:
            super()._settle_node(name)
            return
        self.nodes[name].outbox.main.clear()

    def _arrive(self, datagram: bytes, source: Endpoint, destination: Endpoint) -> None:
        behind = self._node_at.get((destination[0], NODE_PORT)) or self._nat_at.get(destination[0])
        if behind not in self.asleep:
            super()._arrive(datagram, source, destination)
