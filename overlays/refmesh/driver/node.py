"""`refmesh up`: a TUN device, UDP sockets and the node engine, tied together."""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

from overlays.refmesh import credentials, keys
from overlays.refmesh.config import NodeConfig
from overlays.refmesh.config_file import load_node
from overlays.refmesh.core.check import HOST
from overlays.refmesh.core.known import ping, status
from overlays.refmesh.core.node import Node
from overlays.refmesh.credentials import Certificate
from overlays.refmesh.driver import addresses, clock
from overlays.refmesh.driver.datapath import Datapath
from overlays.refmesh.driver.events import EventLog
from overlays.refmesh.driver.igd import Answer, IgdClient
from overlays.refmesh.driver.loop import Loop
from overlays.refmesh.driver.memory import Memory
from overlays.refmesh.driver.names import Names
from overlays.refmesh.driver.sockets import NodeSockets
from overlays.refmesh.driver.status import StatusSocket
from overlays.refmesh.driver.streams import NodeStreams
from overlays.refmesh.driver.tun import Tun
from overlays.refmesh.errors import ConfigError, CredentialError

log = logging.getLogger("refmesh")


class NodeDriver:
    """Runs one node until told to stop."""

    def __init__(self, config: NodeConfig) -> None:
        """Open everything; MachineError or CredentialError when something is lacking."""
        self.config = config
        now = clock.now()
        certificate = own_certificate(config, now + clock.unix_offset_s())
        self.node = Node(config, certificate, os.urandom, clock.unix_offset_s())
        if config.policy is not None:
            self.node.peers.set_policy(config.policy)
        self.tun = Tun(config.interface, tap=config.layer == "l2")
        # A frame has a header of its own, and the control frame around it another.
        self.tun.configure(self.node.addresses, config.mtu - (18 if config.layer == "l2" else 0))
        self.loop = Loop()
        self._events = EventLog()
        self.streams = NodeStreams(self.node, self.loop)
        self.datapath = Datapath(self.node, self.tun, self.streams)
        self.sockets = NodeSockets(
            self.node,
            self.loop,
            self.streams,
            config.listen_port,
            on_readable=self.datapath.on_udp,
            on_near=self.datapath.on_near,
        )
        self.datapath.sockets = self.sockets
        self.status = StatusSocket(config.status_socket, self._answer) if config.status_socket else None
        self._igd = IgdClient(self._on_mapped)
        self._names = Names(self.node.host_found)
        self._watch = addresses.watch()
        self._said_ready = False
        self._memory = Memory(self.node, config.state_dir, now)

    def run(self) -> None:
        """Works until SIGTERM or SIGINT."""
        loop, node = self.loop, self.node
        now = clock.now()
        node.network_changed(self._local(), now, self._routers())
        node.start(now)
        loop.add(self.tun.fd, self.datapath.on_tun)
        self.sockets.listen()
        loop.add(self._watch, self._on_change)
        loop.add(self._igd, self._igd.on_ready)
        loop.add(self._names, self._names.on_ready)
        loop.on_hangup(self._on_hangup)
        if self.status is not None:
            loop.add(self.status, self.status.on_ready)
        try:
            self._after(now)
            # What exists now stays: the collector need not walk through it while packets wait.
            gc.collect()
            gc.freeze()
            deadline = partial(getattr, node.outbox, "deadline")
            loop.run(deadline, self._after, self.datapath.eagerness, self.datapath.warmth)
        finally:
            self.close()

    def close(self) -> None:
        """Give everything back."""
        self._memory.save(clock.now())
        self.tun.close()
        self.streams.close()
        self.sockets.close()
        self._names.close()
        self._igd.close()  # it may wait
        if self.status is not None:
            self.status.close()  # the last: by its path's end `refmesh down` knows that all has been given back

    def _on_change(self, now: float) -> None:
        addresses.drain(self._watch)
        # A connected socket keeps the address of ours that it began with.
        self.datapath.forget_near()
        self.streams.addresses_changed(now)
        local = self._local()
        if local != self.node.local or self._routers() != self.node.mappings.routers:
            log.info("the network has changed: %s", ", ".join(host for _, host, _ in local) or "no address")
            self.node.network_changed(local, now, self._routers())

    def _after(self, now: float) -> None:
        node = self.node
        if self.loop.due(node.deadline, now):
            node.set_clock(clock.unix_offset_s(), now)
            node.tick(now)
            self.streams.look(now)
            if node.mappings.requests:
                self._igd.ask(node.mappings.requests)
                node.mappings.requests.clear()
            if node.hosts.requests:
                self._names.ask(node.hosts.requests)
                node.hosts.requests.clear()
        if node.outbox.main or node.outbox.fresh or node.outbox.probes or node.puncher.closed:
            self.sockets.flush()
        if node.plane.to_tun or node.plane.large:
            self.datapath.write_tun()
        if node.outbox.events:
            self._events.write(node.outbox.events, now)
        self._memory.look(now)
        if not self._said_ready and node.ready:
            self._said_ready = True
            own = ", ".join(node.addresses)
            print(f"refmesh: ready {self.config.interface} {own} mode {self.config.mode}", file=sys.stderr, flush=True)

    def _local(self) -> list[tuple[str, str, int]]:
        return [
            (HOST, host, sock.port)
            for host in addresses.local_addresses(but=self.tun.name)
            for sock in (self.sockets.main.get(socket.AF_INET6 if ":" in host else socket.AF_INET),)
            if sock is not None and host not in {address.split("/")[0] for address in self.node.addresses}
        ]

    def _routers(self) -> list[tuple[str, str]]:
        if not self.config.port_mapping or not self.config.direct or not self.config.servers:
            return []
        return addresses.routers(self.config.fwmark)

    def _on_hangup(self) -> None:
        for problem in self._reload(clock.now())["problems"]:
            log.error("not read again: %s", problem)

    def _on_mapped(self, answer: Answer, now: float) -> None:
        self.node.port_mapped(answer.request, answer.external, answer.lease_s, now)

    def _answer(self, request: dict[str, Any]) -> Any:
        now = clock.now()
        if "ping" in request:
            return ping(self.node, str(request["ping"]), now)
        if "reload" in request:
            return self._reload(now)
        if "down" in request:
            self.loop.stop()
        return status(self.node, now)

    def _reload(self, now: float) -> dict[str, list[str]]:
        """Take what the configuration file says now, all of it or nothing."""
        try:
            config = load_node(Path(self.config.file))
            certificate = own_certificate(config, now + clock.unix_offset_s())
            changed = self.node.reload(config, certificate, now)
        except ConfigError as error:
            return {"changed": [], "problems": list(error.problems)}
        except CredentialError as error:
            return {"changed": [], "problems": [f"{self.config.file}:0: certificate: {error}"]}
        self.config = config
        logging.getLogger().setLevel(config.log_level.upper())
        log.info("read again: %s", ", ".join(changed) or "nothing has changed")
        return {"changed": changed, "problems": []}


def own_certificate(config: NodeConfig, unix_s: float) -> Certificate | None:
    """Our own certificate, verified as others will verify it; None for a plain WireGuard node."""
    public = keys.public(config.private_key)
    text = config.certificate
    if config.join_key is not None:
        text = credentials.redeem(config.join_key, public)
    if text is None or config.authority is None:
        return None
    certificate = credentials.verify(text, config.authority, unix_s)
    if certificate.key != public:
        raise CredentialError(f"{config.file}: the certificate is for another private key")
    return certificate
