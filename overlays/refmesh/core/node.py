"""A node: sessions, paths and servers put together, without I/O.

| room | has |
|---|---|
| `peers` | who is admitted, and the path to each |
| `servers` | links to servers, the directory's news, relays |
| `mappings` | ports that routers map to ours |
| `holes` | prediction and birthday probing |
| `egress` | what our host sends |
| `ingress` | what comes in: opens it |
| `reactions` | what an authentic message changes |
| `upkeep` | what is due for a peer: handshakes, keepalives, checks |
| here | what a driver or a simulation calls, and time |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from overlays.refmesh.config import NodeConfig
from overlays.refmesh.core import packets
from overlays.refmesh.core.dataplane import DataPlane
from overlays.refmesh.core.directory import Directory
from overlays.refmesh.core.egress import Egress
from overlays.refmesh.core.guard import AGAIN_S, Guard
from overlays.refmesh.core.holes import Holes
from overlays.refmesh.core.hosts import Hosts
from overlays.refmesh.core.igd import Request
from overlays.refmesh.core.ingress import Ingress
from overlays.refmesh.core.lifetime import Lifetime
from overlays.refmesh.core.mappings import Mappings
from overlays.refmesh.core.noise import REAL, Suite
from overlays.refmesh.core.outbox import Outbox
from overlays.refmesh.core.path_mtu import ANY
from overlays.refmesh.core.peers import Peers
from overlays.refmesh.core.probing import Probing
from overlays.refmesh.core.puncher import Puncher
from overlays.refmesh.core.reactions import Reactions
from overlays.refmesh.core.servers import Servers
from overlays.refmesh.core.tunnel import Tunnel
from overlays.refmesh.core.upkeep import Upkeep
from overlays.refmesh.credentials import Certificate
from overlays.refmesh.errors import ConfigError
from overlays.refmesh.keys import Rng
from overlays.refmesh.wire import control
from overlays.refmesh.wire.control import Endpoint

CLOCK_STEP_S = 1.0
"""Less is what clocks drift."""
RELOADABLE = frozenset({"peers", "certificate", "policy", "log_level"})
"""Fields of a configuration that can change while a node runs."""


class Node:
    """One member of a network, or a plain WireGuard node when the configuration has neither certificate nor servers."""

    def __init__(
        self,
        config: NodeConfig,
        certificate: Certificate | None,
        rng: Rng,
        unix_offset_s: float,
        suite: Suite = REAL,
    ) -> None:
        self.config, self.certificate = config, certificate
        self.tunnel = tunnel = Tunnel(config.private_key, rng, unix_offset_s, suite)
        self.outbox = outbox = Outbox()
        self.guard = Guard(outbox.events)
        own = frozenset(packets.packed_host(address) for address in self.addresses)
        self.plane = DataPlane(hub=config.mode == "hub", own=own, layer_2=config.layer == "l2")
        self.directory = Directory(config.authority, certificate, unix_offset_s)
        self.lifetime = Lifetime()
        self.local: list[tuple[str, str, int]] = []
        """Candidates of this machine as (kind, host, port); set them with `network_changed`."""
        flags = control.READS_BULK if config.framing == "auto" and config.layer == "l3" else 0
        self.puncher = Puncher(rng, outbox.send_fresh, lambda peer: tunnel.static.public < peer.session.remote)
        self.puncher.birthday = config.traversal == "birthday"
        self.peers = Peers(
            config,
            tunnel=tunnel,
            directory=self.directory,
            plane=self.plane,
            puncher=self.puncher,
            outbox=outbox,
            lifetime=self.lifetime,
            rng=rng,
        )
        self._probing = probing = Probing(self.plane, outbox, rng, mtu=config.mtu, flags=flags)
        self.servers = Servers(
            config,
            certificate.text if certificate is not None else None,
            tunnel=tunnel,
            peers=self.peers,
            plane=self.plane,
            outbox=outbox,
            lifetime=self.lifetime,
            probing=probing,
            rng=rng,
        )
        self.hosts = Hosts(self.servers.hosts() | self.peers.hosts())
        self.mappings = Mappings(outbox, rng, config.port_mapping if config.direct else ())
        holes = Holes(self.puncher, self.peers, self.servers, tunnel, outbox, punches=config.punches, flags=flags)
        self._upkeep = Upkeep(
            tunnel=tunnel,
            peers=self.peers,
            servers=self.servers,
            holes=holes,
            outbox=outbox,
            probing=probing,
            flags=flags,
        )
        self.egress = Egress(self.plane, self.peers, self.servers, outbox, probing)
        self.ingress = Ingress(
            tunnel=tunnel,
            peers=self.peers,
            servers=self.servers,
            plane=self.plane,
            puncher=self.puncher,
            mappings=self.mappings,
            reactions=Reactions(
                config,
                peers=self.peers,
                servers=self.servers,
                plane=self.plane,
                holes=holes,
                egress=self.egress,
                outbox=outbox,
                probing=probing,
                flags=flags,
            ),
            outbox=outbox,
            guard=self.guard,
            reads_bulk=bool(flags),
            on_mapped=self._tell_candidates,
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """Our overlay addresses with prefix length."""
        return self.certificate.addresses if self.certificate is not None else self.config.addresses

    @property
    def ready(self) -> bool:
        """Whether a server has answered; without servers always."""
        return self.servers.ready

    @property
    def deadline(self) -> float:
        """When `tick` is due."""
        return self.outbox.deadline

    def start(self, now: float) -> None:
        """Begins to connect to the servers."""
        self.servers.start(now)

    def reload(self, config: NodeConfig, certificate: Certificate | None, now: float) -> list[str]:
        """Take another configuration while everything goes on; return the fields that have changed.

        ConfigError, and nothing has happened: something has changed that only a new start can change.
        CredentialError: the network document is not to be believed.
        """
        changed = [
            field.name
            for field in dataclasses.fields(config)
            if getattr(config, field.name) != getattr(self.config, field.name)
        ]
        fixed = [name for name in changed if name not in RELOADABLE]
        before, after = (held.addresses if held is not None else None for held in (self.certificate, certificate))
        if fixed or before != after:
            wanted = fixed or ["certificate"]  # the device has the addresses of the one before
            raise ConfigError([f"{config.file}:0: {name}: has changed, which needs a new start" for name in wanted])
        if config.policy is not None:
            self.peers.set_policy(config.policy)
        if certificate is not None and self.certificate is not None and certificate.text != self.certificate.text:
            self.certificate = certificate
            self.directory.renew(certificate)
            self.peers.rules_changed()
            self.servers.renew(certificate.text, now)
        if config.peers != self.config.peers:
            self.peers.reload(config.peers, now)
            self.hosts = Hosts(self.servers.hosts() | self.peers.hosts())
        self.config = config
        self.outbox.wake(now)
        return changed

    def set_clock(self, unix_offset_s: float, now: float) -> None:
        """Set what to add to `now` to get Unix time: wall clocks are set, forwards and backwards."""
        stepped = abs(unix_offset_s - self.directory.unix_offset_s) > CLOCK_STEP_S
        self.tunnel.unix_offset_s = self.directory.unix_offset_s = unix_offset_s
        if stepped:
            self.peers.clock_set(now)

    def network_changed(
        self, local: Sequence[tuple[str, str, int]], now: float, routers: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Take this machine's addresses, now: tell the servers and check all paths again.

        `routers`: pairs of a router's IPv4 address and ours towards it, to be asked for port mappings.
        """
        self.local = list(local)
        self.mappings.ask(routers, {host: port for _, host, port in self.local}, now)
        self.hosts.restart(now)
        self.puncher.reset()
        for peer in self.peers.by_key.values():
            peer.mtus.clear()
            peer.limit = ANY
        self.servers.network_changed(self.local + self.mappings.candidates(), now)
        self.peers.recheck(now)

    def port_mapped(self, request: Request, external: Endpoint | None, lease_s: float, now: float) -> None:
        """Take what came of one of `mappings.requests`: the external endpoint, None when there is none."""
        if self.mappings.on_igd(request, external, lease_s, now):
            self._tell_candidates(now)

    def refused(self, endpoint: Endpoint, allowed: int, now: float) -> None:
        """Note that the kernel sends no datagrams of more than `allowed` octets to an endpoint: some link is narrow."""
        peers = [*self.peers.by_key.values(), *(link.peer for link in self.servers.links)]
        self._probing.refused(peers, endpoint, allowed, now)

    def host_found(self, host: str, address: str, now: float) -> None:
        """Note that a name of `hosts.requests` has this literal address."""
        if self.hosts.take(host, address, now):
            self.servers.host_found(host, address, now)
            self.peers.host_found(host, address, now)
        self.outbox.wake(now)

    def tick(self, now: float) -> None:
        """Do what is due and set the next deadline."""
        if now >= self.hosts.due_s:
            self.hosts.tick(now, self.servers.unreached() | self.peers.unreached(now))
        if self.mappings.tick(now, translated=self.servers.translated):
            self._tell_candidates(now)
        self.servers.tick(now)
        self.peers.expire(now)
        for peer in self.outbox.schedule.take(now):
            if self.peers.by_key.get(peer.session.remote) is not peer:
                continue
            try:
                self._upkeep.tick(peer, now)
            except Exception as error:
                self.guard.caught(error, now)
                peer.due_s = now + AGAIN_S
        self.outbox.deadline = min(
            self.servers.deadline(),
            self.mappings.deadline(),
            self.hosts.due_s,
            self.outbox.schedule.next_s(),
            self.peers.next_end_s() + 1.0,
        )

    def _tell_candidates(self, now: float) -> None:
        self.servers.candidates = self.local + self.mappings.candidates()
        self.servers.greet(now)
