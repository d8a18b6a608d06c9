"""A small world for tests and benchmarks: nodes behind one NAT each, servers, one delay."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from harness.model.nat import NatBehaviour, parse_nat
from harness.simulation.internet import Internet, Link, Packet, Router, SimulatedNat
from overlays.refmesh.core.noise import REAL, Suite
from overlays.refmesh.network import Network, Site, make_network
from overlays.refmesh.simulation.mesh import UNIX_S, Mesh, ip_packet
from overlays.refmesh.simulation.sockets import NODE_PORT

__all__ = ["NODE_PORT", "UNIX_S", "World", "ip_packet"]


class World(Mesh):
    """Nodes `a`, `b`, ... each behind its own NAT (None: public), and servers, on one Internet."""

    def __init__(
        self,
        nats: Mapping[str, str | NatBehaviour | None],
        *,
        mode: str = "mesh",
        seed: int = 1,
        delay_s: float = 0.01,
        server_delay_s: float | None = None,
        jitter_s: float = 0.0,
        loss: float = 0.0,
        servers: int = 1,
        hub: bool = False,
        network: Network | None = None,
        policy: str | None = None,
        options: Mapping[str, Any] | None = None,
        suite: Suite = REAL,
    ) -> None:
        """`delay_s` is one way; `server_delay_s` that of a way that begins or ends at a server, if it is another.

        Jitter is each packet's own, so packets overtake each other.
        """
        rng = random.Random(seed)
        internet = Internet(rng, core=Link(delay_s, jitter_s, loss, reorders=True))
        sites = [Site(f"s{i}", f"9.9.{i}.9") for i in range(servers)]
        network = network or make_network(list(nats), sites, rng=rng.randbytes, not_after=int(UNIX_S) + 10**6)
        if server_delay_s is not None:
            to_server = Link(server_delay_s, jitter_s, loss, reorders=True)
            internet.core_of = {site.host: to_server for site in network.sites}
        self.cut_between: set[str] = set()
        """Public addresses that do not reach each other any more."""
        self.routers: dict[str, Router] = {}
        super().__init__(
            internet,
            network,
            rng=rng,
            mode=mode,
            hub=hub,
            policy=policy,
            options=options,
            asks_routers=False,
            suite=suite,
        )
        internet.drops = self.loses
        for name, nat in nats.items():
            behaviour = parse_nat(nat) if isinstance(nat, str) else nat
            router = internet.router(behaviour) if behaviour is not None else None
            if router is not None:
                self.routers[name] = router
            self.join(name, internet.host(router, lambda *_: None))

    @property
    def address(self) -> dict[str, str]:
        """The address of each node's host."""
        return {name: host.address for name, host in self.hosts.items()}

    @property
    def nats(self) -> dict[str, SimulatedNat | None]:
        """The table in front of each node."""
        return {name: self.routers[name].tables.ipv4 if name in self.routers else None for name in self.hosts}

    def loses(self, packet: Packet) -> bool:
        """Whether a packet on the Internet gets no further."""
        return {packet.source.address, packet.destination.address} <= self.cut_between

    def start_all(self, *, apart_s: float = 0.0) -> None:
        """Start all nodes, each `apart_s` after the one before."""
        for name in self.hosts:
            self.start(name)
            if apart_s:
                self.run(apart_s)

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; ends early, and says True, when `until` holds."""
        return self.internet.events.run(seconds, until)

    def _at(self, at: float, action: Callable[[], None]) -> None:
        self.internet.events.at(at, action)
