"""refmesh's nodes and servers on the hosts of a simulated Internet: the driver's part, without sockets or clocks."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from harness.simulation.internet import Host, Internet
from overlays.refmesh import credentials, keys
from overlays.refmesh.config import Address, NodeConfig, ServerEntry
from overlays.refmesh.core.known import status
from overlays.refmesh.core.node import Node
from overlays.refmesh.core.noise import REAL, Suite
from overlays.refmesh.network import Network
from overlays.refmesh.server.engine import Server
from overlays.refmesh.simulation.sockets import NODE_PORT, Sockets
from overlays.refmesh.wire import messages
from overlays.refmesh.wire.control import Endpoint

UNIX_S = 1_700_000_000.0


class Mesh:
    """One network of refmesh."""

    def __init__(
        self,
        internet: Internet,
        network: Network,
        *,
        rng: random.Random,
        mode: str = "mesh",
        hub: bool = False,
        policy: str | None = None,
        options: Mapping[str, Any] | None = None,
        server_ipv6: bool = False,
        asks_routers: bool = True,
        keeps_log: bool = True,
        suite: Suite = REAL,
    ) -> None:
        """Start the servers; nodes join one by one.

        Args:
            options: further fields of each node's configuration.
            server_ipv6: whether servers have IPv6 as well.
            suite: the crypto; the network's keys must be of the same kind.
            asks_routers: whether nodes are told of the router that may be asked for ports.
            keeps_log: whether `events` has what nodes and servers would log; over a day that is millions of lines.
        """
        self.internet, self.rng = internet, rng
        self.network = network
        self.authority = keys.decode(network.authority)
        self.policy = policy or network.policy
        self.options = dict(options or {})
        self.mode, self.hub = mode, hub
        self._asks_routers, self._keeps_log, self.suite = asks_routers, keeps_log, suite
        self.servers: dict[str, Server | None] = {}
        self.nodes: dict[str, Node] = {}
        self.hosts: dict[str, Host] = {}
        self.server_hosts: dict[str, Host] = {}
        self.received: dict[str, list[bytes]] = {}
        self.relayed = 0
        self.events: list[str] = []
        self.sockets: dict[str, Sockets] = {}
        self._ticks: dict[str, float] = {}
        for site in network.sites:
            self.server_hosts[site.name] = internet.host(None, _nobody, ipv6=server_ipv6, address=site.host)
            self.start_server(site.name)

    @property
    def now(self) -> float:
        """Seconds since the beginning of the world."""
        return self.internet.events.now

    @now.setter
    def now(self, now: float) -> None:
        """For whoever drives an engine by hand: nothing that was due until then happens."""
        self.internet.events.now = now

    # --- who takes part

    def start_server(self, name: str) -> None:
        """Start a server, or start it again."""
        server = self.servers[name] = Server(
            self.network.private_keys[name],
            self.authority,
            rng=self.rng.randbytes,
            unix_offset_s=UNIX_S,
            policy=credentials.verify_policy(self.policy, self.authority),
            hub=self.hub,
            own=credentials.verify(self.network.certificates[name], self.authority, UNIX_S),
            keep=lambda _: True,
            suite=self.suite,
        )
        stun_port = next(site.stun_port for site in self.network.sites if site.name == name)

        def receive(datagram: bytes, source: Endpoint, port: int) -> None:
            if self.servers[name] is server:
                if port == stun_port:
                    server.answer_stun(datagram, source)
                else:
                    server.receive(datagram, source, self.now)
                self._settle_server(name)

        self.server_hosts[name].receive = receive

    def stop_server(self, name: str) -> None:
        """Silence a server for good."""
        self.servers[name] = None

    def join(self, name: str, host: Host) -> None:
        """Give a node its host."""
        self.hosts[name] = host
        self.sockets[name] = Sockets()
        self.received[name] = []

    def config(self, name: str, **changes: Any) -> NodeConfig:
        """Return a node's configuration; one without IPv4 knows the servers by their IPv6 addresses."""
        ipv6 = name in self.hosts and not self.hosts[name].address
        servers = tuple(
            ServerEntry(
                site.name,
                self.suite.static(self.network.private_keys[site.name]).public,
                Address(self.server_hosts[site.name].address6 if ipv6 else site.host, site.port),
                Address(self.server_hosts[site.name].address6 if ipv6 else site.host, site.stun_port),
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
        """Start a node (again, when it ran before); `unix_s`: its wall clock at the beginning of the world."""
        config = config or self.config(name)
        assert config.certificate is not None
        certificate = credentials.verify(config.certificate, self.authority, unix_s + self.now)
        node = Node(config, certificate, self.rng.randbytes, unix_s, self.suite)
        if config.policy is not None:
            node.peers.set_policy(config.policy)
        self.adopt(name, node)
        self.tell_addresses(name)
        node.start(self.now)
        self._settle_node(name)
        return node

    def adopt(self, name: str, node: Node) -> None:
        """Put an engine on a node's host, in place of what ran there before."""
        self.nodes[name] = node
        self._ticks.pop(name, None)  # what is still to come is for the one that ran before
        self.sockets[name] = Sockets()

        def receive(datagram: bytes, source: Endpoint, port: int) -> None:
            local = self.sockets[name].number_at(port)
            if local is not None and self.nodes.get(name) is node:
                node.ingress.receive(datagram, source, self.now, local)
                self._settle_node(name)

        self.hosts[name].receive = receive

    def stop(self, name: str) -> None:
        """End a node without a word."""
        del self.nodes[name]

    def tell_addresses(self, name: str) -> None:
        """Tell a node what addresses its host has now, and which router may be asked for ports."""
        host = self.hosts[name]
        local = [("host", address, NODE_PORT) for address in (host.address, host.address6) if address]
        router = host.router
        asked = (
            [(router.tables.inside, host.address)]
            if self._asks_routers and router is not None and host.address and router.tables.behaviour.translates
            else []
        )
        self.nodes[name].network_changed(local, self.now, asked)

    # --- traffic

    def overlay_address(self, name: str) -> str:
        """Return a node's address in the tunnel."""
        return self.network.addresses[name].split("/")[0]

    def send(self, src: str, dst: str, payload: bytes) -> None:
        """Return an IPv4 packet from the host of `src` into its tunnel; UDP, so that access rules find ports."""
        packet = ip_packet(self.overlay_address(src), self.overlay_address(dst), payload)
        self.nodes[src].egress.packets([packet], self.now)
        self._settle_node(src)

    def path(self, src: str, dst: str) -> str:
        """Return what `refmesh status` of a node says of its way to another."""
        node = self.nodes[src]
        peers = {peer["name"]: peer["path"] for peer in status(node, self.now)["peers"]}
        return str(peers.get(dst, "unknown"))

    def paths(self) -> list[str]:
        """`path` for all ordered pairs."""
        return [self.path(src, dst) for src in self.nodes for dst in self.nodes if src != dst]

    def settle(self, name: str) -> None:
        """Do what is due for a node after somebody has told it something."""
        self._settle_node(name)

    # --- the driver's part

    def _settle_node(self, name: str) -> None:
        node = self.nodes[name]
        if not self.hosts[name].reachable:
            return  # a machine that sleeps does nothing; whoever wakes it settles it
        now, outbox = self.internet.events.now, node.outbox
        if now >= outbox.deadline:
            node.tick(now)
        if outbox.events:
            self._log(name, outbox.events)
            outbox.events.clear()
        if node.plane.to_tun:
            self.received[name] += node.plane.to_tun
            node.plane.to_tun.clear()
        if outbox.main or outbox.probes or outbox.fresh:
            self._empty(name, node)
        while node.mappings.requests:
            request = node.mappings.requests.pop(0)
            external = self.internet.lease(self.hosts[name], request.port, request.external_port, 3600.0)
            node.port_mapped(request, external, 3600.0, now)
            self._empty(name, node)
        if node.puncher.closed:
            for local in node.puncher.closed:
                self.sockets[name].close(local)
            node.puncher.closed.clear()
        self._schedule(name, outbox.deadline, partial(self._tick_node, name, node))

    def _empty(self, name: str, node: Node) -> None:
        main, probes, fresh = node.outbox.main[:], node.outbox.probes[:], node.outbox.fresh[:]
        for box in (node.outbox.main, node.outbox.probes, node.outbox.fresh):
            box.clear()
        for datagram, endpoint in main:
            self._from_node(name, datagram, endpoint, 0)
        for local, datagram, endpoint in (*probes, *fresh):
            self._from_node(name, datagram, endpoint, local)

    def _tick_node(self, name: str, node: Node) -> None:
        if self.nodes.get(name) is node:
            self._settle_node(name)

    def _settle_server(self, name: str) -> None:
        server = self.servers[name]
        if server is None:
            return
        if self.now >= server.deadline:
            server.tick(self.now)
        self._log(name, server.outlet.events)
        server.outlet.events.clear()
        out = server.outlet.datagrams[:]
        server.outlet.datagrams.clear()
        site = next(site for site in self.network.sites if site.name == name)
        for datagram, endpoint in out:
            self.relayed += datagram[0] == messages.RELAY
            answers_stun = datagram[0] < 2 and datagram[4:8] == b"\x21\x12\xa4\x42"
            self.server_hosts[name].send(datagram, site.stun_port if answers_stun else site.port, endpoint)
        self._schedule(name, server.deadline, lambda: self._settle_server(name))

    def _schedule(self, name: str, at: float, action: Callable[[], None]) -> None:
        events, planned = self.internet.events, self._ticks.get(name, -1.0)
        at = max(at, events.now + 1e-4)
        if planned <= events.now or at < planned:
            self._ticks[name] = at
            events.at(at, action)

    def _log(self, name: str, events: Sequence[str]) -> None:
        if self._keeps_log:
            self.events += [f"{self.now:.3f} {name}: {event}" for event in events]

    def _from_node(self, name: str, datagram: bytes, endpoint: Endpoint, local: int) -> None:
        sockets = self.sockets[name]
        port = sockets.port_of(local)
        if port is None:
            if not self.nodes[name].puncher.is_open(local):
                return
            port = sockets.open(local)
        self.hosts[name].send(datagram, port, endpoint)


def _nobody(datagram: bytes, source: Endpoint, port: int) -> None:
    """Drop a datagram that comes before there is a listener."""


def ip_packet(src: str, dst: str, payload: bytes, *, protocol: int = 17, ports: Sequence[int] = (1000, 2000)) -> bytes:
    """Return an IPv4 packet with the ports of UDP or TCP in front of the payload."""
    body = b"".join(port.to_bytes(2, "big") for port in ports) + bytes(4) + payload
    head = bytes((0x45, 0)) + (20 + len(body)).to_bytes(2, "big") + bytes((0, 0, 0, 0, 64, protocol, 0, 0))
    return head + b"".join(bytes(map(int, address.split("."))) for address in (src, dst)) + body
