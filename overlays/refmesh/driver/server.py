"""`refmesh server`: UDP sockets for coordination, relay and STUN, and for a hub a TUN device."""

from __future__ import annotations

import logging
import os
import socket
import sys
from typing import Any

from overlays.refmesh import credentials, keys
from overlays.refmesh.config import ServerConfig
from overlays.refmesh.core import offload
from overlays.refmesh.credentials import Policy
from overlays.refmesh.driver import clock
from overlays.refmesh.driver.descriptors import raise_limit
from overlays.refmesh.driver.events import EventLog
from overlays.refmesh.driver.joined import JoinedFile
from overlays.refmesh.driver.listener import StreamListener
from overlays.refmesh.driver.loop import Loop
from overlays.refmesh.driver.members import MembersFile
from overlays.refmesh.driver.sockets import open_sockets
from overlays.refmesh.driver.status import StatusSocket
from overlays.refmesh.driver.tun import VNET_HEADER_LEN, Tun
from overlays.refmesh.driver.udp import READS_PER_ROUND, UdpSocket
from overlays.refmesh.errors import ConfigError, CredentialError
from overlays.refmesh.server.engine import Server
from overlays.refmesh.wire import messages, stun
from overlays.refmesh.wire.control import Endpoint

log = logging.getLogger("refmesh")
POLICY_CHECK_S = 2.0
NOTHING_TO_RELOAD = "a server reads its policy_file by itself"


class ServerDriver:
    """Runs one server until told to stop."""

    def __init__(self, config: ServerConfig) -> None:
        """Open everything; MachineError or CredentialError when something is lacking."""
        self.config = config
        raise_limit()
        now = clock.now()
        certificate = credentials.verify(config.certificate, config.authority, now + clock.unix_offset_s())
        if certificate.key != keys.public(config.private_key):
            raise CredentialError(f"{config.file}: the certificate is for another private key")
        self._joined = JoinedFile(config.state_dir) if config.state_dir is not None else None
        self.engine = Server(
            config.private_key,
            config.authority,
            rng=os.urandom,
            unix_offset_s=clock.unix_offset_s(),
            policy=self._first_policy(),
            relay=config.relay,
            hub=config.hub,
            own=certificate,
            keep=self._joined.write if self._joined is not None else None,
        )
        if self._joined is not None:
            self.engine.joined.update(self._joined.stored)
        self._members = MembersFile(config.state_dir, self.engine, now)
        self.sockets = open_sockets(config.listen.host, config.listen.port)
        for sock in self.sockets.values():
            sock.keeps = self.engine.registry.by_endpoint.__contains__
        self.stun = open_sockets(config.listen.host, config.stun_port) if config.stun_port else {}
        self.tun = Tun(config.interface) if config.hub and config.interface else None
        if self.tun is not None:
            self.tun.configure(certificate.addresses, config.mtu)
        self.name = certificate.name
        self.loop = Loop()
        self._events = EventLog()
        self.streams: StreamListener | None = None
        self.status = StatusSocket(config.status_socket, self._answer) if config.status_socket else None
        self._policy_checked_s = now
        self._policy_seen, self._policy_failed = self._policy_mtime(), -1

    def run(self) -> None:
        """Works until SIGTERM or SIGINT."""
        loop, config = self.loop, self.config
        loop.on_hangup(lambda: log.warning("%s", NOTHING_TO_RELOAD))
        if config.tls_port:
            self.streams = StreamListener(
                config.listen.host,
                config.tls_port,
                loop,
                self._on_stream,
                self.engine.registry.by_endpoint.__contains__,
            )
        for sock in self.sockets.values():
            loop.add(sock, lambda now, sock=sock: self._on_udp(sock, now))  # type: ignore[misc]
        for sock in self.stun.values():
            loop.add(sock, lambda _, sock=sock: self._on_stun(sock))  # type: ignore[misc]
        if self.tun is not None:
            loop.add(self.tun.fd, self._on_tun)
        if self.status is not None:
            loop.add(self.status, self.status.on_ready)
        role = "hub" if self.config.hub else "relay" if self.config.relay else "coordination only"
        print(f"refmesh: ready server {self.name} port {self.config.listen.port} {role}", file=sys.stderr, flush=True)
        try:
            loop.run(self._deadline, self._after)
        finally:
            self.close()

    def close(self) -> None:
        """Give everything back."""
        if self.tun is not None:
            self.tun.close()
        if self.streams is not None:
            self.streams.close()
        for sock in (*self.sockets.values(), *self.stun.values()):
            sock.close()
        if self.status is not None:
            self.status.close()  # the last: by its path's end `refmesh down` knows that all has been given back

    def _on_udp(self, sock: UdpSocket, now: float) -> None:
        engine = self.engine
        for _ in range(READS_PER_ROUND):
            received = sock.receive()
            if received is None:
                break
            view, size, source = received
            if messages.message_type(view) == messages.RELAY and self._relay(view, size, source):
                continue
            if size >= len(view):
                engine.receive(bytes(view), source, now)
            else:
                engine.receive_run([view[i : i + size] for i in range(0, len(view), size)], source, now)
            if engine.outlet.datagrams:
                self._flush()

    def _on_stream(self, datagram: bytes, source: Endpoint, now: float) -> None:
        self.engine.receive(datagram, source, now)
        if self.engine.outlet.datagrams:
            self._flush()

    def _relay(self, view: memoryview, size: int, source: Endpoint) -> bool:
        """Pass on a whole read in place, when all of it is for one member; False when it is not."""
        if len(view) < messages.RELAY_HEAD.size:
            return False
        head = bytes(view[: messages.RELAY_HEAD.size])
        starts = range(0, len(view), size)
        if any(view[start : start + messages.RELAY_HEAD.size] != head for start in starts):
            return False
        target = self.engine.relay.target(source, messages.RELAY_HEAD.unpack(head)[1])
        if target is None:
            return True
        number, endpoint = target
        if endpoint[0] == "tls":
            return False
        own = messages.RELAY_HEAD.pack(messages.RELAY, number)
        for start in starts:
            view[start : start + messages.RELAY_HEAD.size] = own
        self.engine.relay.count(source, len(view))
        sock = self._socket(endpoint)
        if sock is not None:
            sock.send_segmented(view, size, endpoint)
        return True

    def _on_stun(self, sock: UdpSocket) -> None:
        for _ in range(READS_PER_ROUND):
            received = sock.receive()
            if received is None:
                return
            view, size, source = received
            for start in range(0, len(view), size or 1):
                datagram = bytes(view[start : start + size])
                if stun.is_stun(datagram):
                    self.engine.answer_stun(datagram, source)
            # From the port that was asked: a NAT lets nothing else in.
            answers = self.engine.outlet.datagrams[:]
            self.engine.outlet.datagrams.clear()
            for answer, endpoint in answers:
                sock.send(answer, endpoint)

    def _on_tun(self, now: float) -> None:
        assert self.tun is not None
        for _ in range(READS_PER_ROUND):
            data = self.tun.read()
            if data is None:
                break
            for packet in offload.split(data[:VNET_HEADER_LEN], data[VNET_HEADER_LEN:]):
                self.engine.from_tun(packet, now)
        self._flush()

    def _flush(self) -> None:
        out = self.engine.outlet.datagrams[:]
        self.engine.outlet.datagrams.clear()
        first = 0
        while first < len(out):
            endpoint = out[first][1]
            last = first + 1
            while last < len(out) and out[last][1] == endpoint:
                last += 1
            datagrams = [datagram for datagram, _ in out[first:last]]
            sock = self._socket(endpoint)
            if sock is not None:
                sock.send_run(datagrams, endpoint)
            elif endpoint[0] == "tls" and self.streams is not None:
                self.streams.send_run(datagrams, endpoint, clock.now())
            first = last

    def _socket(self, endpoint: Endpoint) -> UdpSocket | None:
        """Return what leads to an address; None for a stream, and where we have no address of the family any more."""
        if endpoint[0] == "tls":
            return None
        return self.sockets.get(socket.AF_INET6 if ":" in endpoint[0] else socket.AF_INET)

    def _after(self, now: float) -> None:
        engine = self.engine
        if now - self._policy_checked_s > POLICY_CHECK_S:
            self._policy_checked_s = now
            self._reload_policy(now)
        if self.loop.due(engine.deadline, now):
            engine.tunnel.unix_offset_s = clock.unix_offset_s()
            engine.tick(now)
        if self.streams is not None:
            self.streams.look(now)
        if engine.outlet.datagrams:
            self._flush()
        if engine.outlet.to_tun:
            self._write_tun()
        if engine.outlet.events:
            self._events.write(engine.outlet.events, now)
        self._members.look(now)

    def _write_tun(self) -> None:
        taken = self.engine.outlet.to_tun[:]
        self.engine.outlet.to_tun.clear()
        if self.tun is not None:
            for buffers in offload.merge(taken):
                self.tun.write(buffers)

    def _deadline(self) -> float:
        watching = self._policy_checked_s + POLICY_CHECK_S if self.config.policy_file else float("inf")
        return min(self.engine.deadline, watching + 0.001)

    def _first_policy(self) -> Policy | None:
        try:
            return self._policy()
        except (OSError, ValueError) as error:
            raise ConfigError([f"{self.config.policy_file}:1: policy_file: {error}"]) from None

    def _policy(self) -> Policy | None:
        """Return the network document of the file, else of the configuration; CredentialError, OSError, ValueError."""
        path = self.config.policy_file
        text = path.read_text("ascii").strip() if path is not None and path.exists() else self.config.policy
        return credentials.verify_policy(text, self.config.authority) if text else None

    def _policy_mtime(self) -> int:
        path = self.config.policy_file
        try:
            return path.stat().st_mtime_ns if path is not None else 0
        except OSError:
            return 0

    def _reload_policy(self, now: float) -> None:
        seen = self._policy_mtime()
        if seen == self._policy_seen:
            return
        try:
            policy = self._policy()
        except (CredentialError, ValueError) as error:
            self._policy_seen = seen  # it will be read again when it changes
            log.warning("%s: no network document: %s", self.config.policy_file, error)
            return
        except OSError as error:
            if self._policy_failed != seen:
                self._policy_failed = seen
                log.warning("%s: %s; tried again", self.config.policy_file, error.strerror)
            return
        self._policy_seen = seen
        if policy is not None and (self.engine.policy is None or policy.version > self.engine.policy.version):
            log.info("network document version %d", policy.version)
            try:
                self.engine.set_policy(policy, now)
            except CredentialError as error:
                log.warning("%s: %s", self.config.policy_file, error)

    def _answer(self, request: dict[str, Any]) -> Any:
        if "down" in request:
            self.loop.stop()
        if "reload" in request:
            problem = f"{self.config.file}:0: file: {NOTHING_TO_RELOAD}"
            return {"changed": [], "problems": [problem]}
        return {"name": self.name, "members": self.engine.status(clock.now())}
