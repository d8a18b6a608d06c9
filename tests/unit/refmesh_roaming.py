"""What happens to hosts and routers, in the simulated world: addresses that change, sleep, servers that come back."""

from __future__ import annotations

from typing import Any

from overlays.refmesh.simulation.world import World

EVERY_S = 0.2


class Roaming(World):
    """A world whose nodes move."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._numbers = 0

    def router_moves(self, name: str) -> None:
        """Give a node's router another public address and no mappings; the node is not told."""
        router = self.routers[name]
        old = router.tables.addresses[0]
        self.internet.readdress(router, old.removesuffix(".1") + f".{self.rng.randrange(2, 250)}")

    def interface_moves(self, name: str) -> None:
        """Give a node's interface another address, and have its kernel tell the node."""
        host = self.hosts[name]
        address = f"{host.address.rpartition('.')[0]}.{self.rng.randrange(3, 250)}"
        self.internet.move(host, host.router, address=address)
        self.tell_addresses(name)
        self._settle_node(name)

    def sleep(self, name: str, seconds: float) -> None:
        """Let a machine sleep: it hears nothing and does nothing, and its clock has gone on when it wakes."""
        self.hosts[name].reachable = False
        self.run(seconds)
        self.hosts[name].reachable = True
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
        if self.hosts[name].reachable:
            super()._settle_node(name)
            return
        self.nodes[name].outbox.main.clear()
