"""An Internet in memory for refmesh's engines: simulated NATs, delay, loss and reordering, and a clock that jumps."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.model.nat import NatBehaviour, parse_nat
from harness.nat.packet import Endpoint as NatEndpoint
from harness.nat.packet import Packet
from harness.nat.simulated import SimulatedNat
from overlays.refmesh import credentials, keys
from overlays.refmesh.config import Address, NodeConfig, ServerEntry
from overlays.refmesh.core.known import status
from overlays.refmesh.core.node import Node
from overlays.refmesh.network import Network, Site, make_network
from overlays.refmesh.server.engine import Server
from overlays.refmesh.wire.control import Endpoint

UNIX_S = 1_700_000_000.0
NODE_PORT = 40000


class World:
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
    ) -> None:
        """`delay_s` is one way; `server_delay_s` that of a way that begins or ends at a server, if it is another."""
        self.rng = random.Random(seed)
        self.now = 0.0
        self.delay_s, self.jitter_s, self.loss = delay_s, jitter_s, loss
        self.server_delay_s = delay_s if server_delay_s is None else server_delay_s
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        sites = [Site(f"s{i}", f"9.9.{i}.9") for i in range(servers)]
        self.network = network or make_network(list(nats), sites, rng=self.rng.randbytes, not_after=int(UNIX_S) + 10**6)
        self.authority = keys.decode(self.network.authority)
        self.policy = policy or self.network.policy
        self.options = dict(options or {})
        self.mode, self.hub = mode, hub
        self.servers: dict[str, Server | None] = {}
        self.nodes: dict[str, Node] = {}
        self.nats: dict[str, SimulatedNat | None] = {}
        self.address: dict[str, str] = {}
        self.received: dict[str, list[bytes]] = {name: [] for name in nats}
        self.relayed = 0
        self.events: list[str] = []
        self._ticks: dict[str, float] = {}
        self._node_at: dict[Endpoint, str] = {}
        self._local_of: dict[Endpoint, int] = {}
        self._nat_at: dict[str, str] = {}
        self.cut_between: set[str] = set()
        """Public addresses that do not reach each other any more."""
        for site in self.network.sites:
            self.start_server(site.name)
        for i, (name, nat) in enumerate(nats.items()):
            behaviour = parse_nat(nat) if isinstance(nat, str) else nat
            public = f"45.0.{i}.1"
            private = behaviour is not None and behaviour.translates
            self.address[name] = f"192.168.{i}.2" if private else public
            self.nats[name] = (
                SimulatedNat(behaviour, addresses=[public], rng=self.rng) if behaviour is not None else None
            )
            self._nat_at[public] = name

    # --- who takes part

    def start_server(self, name: str) -> None:
        """Starts a server, or starts it anew."""
        self.servers[name] = Server(
            self.network.private_keys[name],
            self.authority,
            rng=self.rng.randbytes,
            unix_offset_s=UNIX_S,
            policy=credentials.verify_policy(self.policy, self.authority),
            hub=self.hub,
            own=credentials.verify(self.network.certificates[name], self.authority, UNIX_S),
        )

    def stop_server(self, name: str) -> None:
        """The server falls silent for good."""
        self.servers[name] = None

    def config(self, name: str, **changes: Any) -> NodeConfig:
        servers = tuple(
            ServerEntry(
                site.name,
                keys.public(self.network.private_keys[site.name]),
                Address(site.host, site.port),
                Address(site.host, site.stun_port),
            )
            for site in self.network.sites
        )
        fields: dict[str, Any] = {
            "file": f"{name}.yaml",
            "private_key": self.network.private_keys[name],
            "mode": self.mode,
            "authority": self.authority,
            "certificate": self.network.certificates[name],
            "servers": servers,
            "policy": self.policy,
        }
        return NodeConfig(**(fields | self.options | changes))

    def start(self, name: str, *, config: NodeConfig | None = None, unix_s: float = UNIX_S) -> Node:
        """Starts a node (anew, when it ran before); `unix_s`: its wall clock at the beginning of the world."""
        config = config or self.config(name)
        assert config.certificate is not None
        certificate = credentials.verify(config.certificate, self.authority, unix_s + self.now)
        node = Node(config, certificate, self.rng.randbytes, unix_s)
        if config.policy is not None:
            node.peers.set_policy(config.policy)
        self.nodes[name] = node
        self._ticks.pop(name, None)  # what is still to come is for the one that ran before
        self._node_at[self.address[name], NODE_PORT] = name
        node.network_changed([("host", self.address[name], NODE_PORT)], self.now)
        node.start(self.now)
        self._settle_node(name)
        return node

    def start_all(self, *, apart_s: float = 0.0) -> None:
        """Starts all nodes, each `apart_s` after the one before."""
        for name in self.address:
            self.start(name)
            if apart_s:
                self.run(apart_s)

    # --- traffic

    def overlay_address(self, name: str) -> str:
        return self.network.addresses[name].split("/")[0]

    def send(self, src: str, dst: str, payload: bytes) -> None:
        """An IPv4 packet from the host of `src` into its tunnel; UDP, so that access rules find ports."""
        self.nodes[src].egress.packets(
            [ip_packet(self.overlay_address(src), self.overlay_address(dst), payload)], self.now
        )
        self._settle_node(src)

    def path(self, src: str, dst: str) -> str:
        node = self.nodes[src]
        peers = {peer["name"]: peer["path"] for peer in status(node, self.now)["peers"]}
        return str(peers.get(dst, "unknown"))

    def paths(self) -> list[str]:
        return [self.path(src, dst) for src in self.nodes for dst in self.nodes if src != dst]

    # --- time

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Lets time pass; ends early, and says True, when `until` holds."""
        end = self.now + seconds
        while True:
            if until is not None and until():
                return True
            if not self._queue or self._queue[0][0] > end:
                self.now = end
                return until is not None and until()
            at, _, action = heapq.heappop(self._queue)
            self.now = max(self.now, at)
            action()

    def _at(self, at: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (at, next(self._order), action))

    # --- the Internet

    def _settle_node(self, name: str) -> None:
        node = self.nodes[name]
        if self.now >= node.deadline:
            node.tick(self.now)
        self.events += [f"{self.now:.3f} {name}: {event}" for event in node.outbox.events]
        node.outbox.events.clear()
        self.received[name] += node.plane.to_tun
        node.plane.to_tun.clear()
        out = node.outbox.main[:]
        node.outbox.main.clear()
        for datagram, endpoint in out:
            self._from_node(name, datagram, endpoint, 0)
        for local, datagram, endpoint in node.outbox.probes:
            self._from_node(name, datagram, endpoint, local)
        node.outbox.probes.clear()
        fresh = node.outbox.fresh[:]
        node.outbox.fresh.clear()
        for local, datagram, endpoint in fresh:
            self._from_node(name, datagram, endpoint, local)
        self._schedule(name, node.deadline, lambda: self._tick_node(name, node))

    def _tick_node(self, name: str, node: Node) -> None:
        if self.nodes.get(name) is node:
            self._settle_node(name)

    def _settle_server(self, name: str) -> None:
        server = self.servers[name]
        if server is None:
            return
        if self.now >= server.deadline:
            server.tick(self.now)
        self.events += [f"{self.now:.3f} {name}: {event}" for event in server.outlet.events]
        server.outlet.events.clear()
        out = server.outlet.datagrams[:]
        server.outlet.datagrams.clear()
        host = next(site.host for site in self.network.sites if site.name == name)
        for datagram, endpoint in out:
            if datagram[0] == 6:
                self.relayed += 1
            port = 3478 if datagram[0] < 2 and datagram[4:8] == b"\x21\x12\xa4\x42" else 7447
            self._travel(datagram, (host, port), endpoint)
        self._schedule(name, server.deadline, lambda: self._settle_server(name))

    def _schedule(self, name: str, at: float, action: Callable[[], None]) -> None:
        at = max(at, self.now + 1e-4)
        if self._ticks.get(name, -1.0) <= self.now or at < self._ticks[name]:
            self._ticks[name] = at
            self._at(at, action)

    def _from_node(self, name: str, datagram: bytes, endpoint: Endpoint, local: int) -> None:
        # Scattered, as the kernel's ephemeral ports are: ports in a row would look like a NAT's sequence.
        source = (self.address[name], 20000 + local * 7919 % 19991 if local else NODE_PORT)
        self._local_of[source] = local
        nat = self.nats[name]
        if nat is None:
            self._travel(datagram, source, endpoint)
            return
        if endpoint[0].startswith("192.168."):
            return  # a private address leads nowhere from here
        translated = nat.outbound(Packet(NatEndpoint(*source), NatEndpoint(*endpoint), datagram), self.now)
        if translated is not None:
            self._travel(datagram, _plain(translated.source), _plain(translated.destination))

    def _travel(self, datagram: bytes, source: Endpoint, destination: Endpoint) -> None:
        if self.rng.random() < self.loss:
            return
        hosts = {site.host for site in self.network.sites}
        delay_s = self.server_delay_s if hosts & {source[0], destination[0]} else self.delay_s
        delay_s += self.rng.random() * self.jitter_s
        self._at(self.now + delay_s, lambda: self._arrive(datagram, source, destination))

    def _arrive(self, datagram: bytes, source: Endpoint, destination: Endpoint) -> None:
        if {source[0], destination[0]} <= self.cut_between:
            return
        site = next((site for site in self.network.sites if site.host == destination[0]), None)
        if site is not None:
            server = self.servers[site.name]
            if server is not None:
                if destination[1] == site.stun_port:
                    server.answer_stun(datagram, source)
                else:
                    server.receive(datagram, source, self.now)
                self._settle_server(site.name)
            return
        behind = self._nat_at.get(destination[0])
        nat = self.nats[behind] if behind is not None else None
        if nat is not None:
            translated = nat.inbound(Packet(NatEndpoint(*source), NatEndpoint(*destination), datagram), self.now)
            if translated is None:
                return
            destination = _plain(translated.destination)
        name = self._node_at.get((destination[0], NODE_PORT))
        if name is not None and destination in self._local_of:
            self.nodes[name].ingress.receive(datagram, source, self.now, self._local_of[destination])
            self._settle_node(name)


def _plain(endpoint: NatEndpoint) -> Endpoint:
    return endpoint.address, endpoint.port


def ip_packet(src: str, dst: str, payload: bytes, *, protocol: int = 17, ports: Sequence[int] = (1000, 2000)) -> bytes:
    """An IPv4 packet with the ports of UDP or TCP in front of the payload."""
    body = b"".join(port.to_bytes(2, "big") for port in ports) + bytes(4) + payload
    head = bytes((0x45, 0)) + (20 + len(body)).to_bytes(2, "big") + bytes((0, 0, 0, 0, 64, protocol, 0, 0))
    return head + b"".join(bytes(map(int, address.split("."))) for address in (src, dst)) + body
