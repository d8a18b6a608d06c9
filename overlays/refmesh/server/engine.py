"""The server: admits members, tells them of each other, relays what it cannot read, and as a hub forwards packets.

Datagrams, `now` and `rng` in; datagrams, packets for the TUN device, log lines and the next deadline out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from overlays.refmesh.core import introduction
from overlays.refmesh.core.coordination import MAX_CANDIDATES_TOLD, OFFLINE_AFTER_S, OVERTAKEN_S
from overlays.refmesh.core.guard import AGAIN_S, Guard
from overlays.refmesh.core.noise import REAL, Suite
from overlays.refmesh.core.tunnel import Input, Tunnel
from overlays.refmesh.credentials import Certificate, Policy
from overlays.refmesh.errors import CredentialError, MalformedMessage
from overlays.refmesh.keys import Rng
from overlays.refmesh.server.admission import Admission, Keep
from overlays.refmesh.server.herald import Herald
from overlays.refmesh.server.hub import Hub
from overlays.refmesh.server.outlet import Outlet
from overlays.refmesh.server.registry import Probe, Registration, Registry
from overlays.refmesh.server.relay import Relay
from overlays.refmesh.wire import bodies, control, messages, stun
from overlays.refmesh.wire.bodies import Hello, Punch
from overlays.refmesh.wire.control import Endpoint

PROBE_AGAIN_S = 0.2


class Server:
    """A coordination server with relay and, if `hub`, a forwarder of decrypted packets."""

    def __init__(
        self,
        private: bytes,
        authority: bytes,
        *,
        rng: Rng,
        unix_offset_s: float,
        policy: Policy | None = None,
        relay: bool = True,
        hub: bool = False,
        own: Certificate | None = None,
        keep: Keep | None = None,
        suite: Suite = REAL,
    ) -> None:
        """`own`: our certificate; a hub's packets to its addresses are for the TUN device.

        `keep`: what writes `joined` down before an invitation takes effect; without it no node can join by one.
        """
        self.tunnel = Tunnel(private, rng, unix_offset_s, suite)
        self.registry = Registry()
        self.outlet = Outlet()
        self.guard = Guard(self.outlet.events)
        self.herald = Herald(self.registry, self.outlet, rng, hub=hub)
        self.hub = Hub(self.registry, self.outlet, own.addresses if own is not None else ()) if hub else None
        self.admission = Admission(
            authority, self.tunnel, self.registry, self.outlet, rng, own=own, keep=keep, forget=self._forget
        )
        self.joined = self.admission.joined
        self.policy = policy
        self._rng = rng
        self.relay = Relay(self.registry, self.outlet, enabled=relay)
        if policy is not None:
            self.set_policy(policy, 0.0)

    @property
    def deadline(self) -> float:
        """When `tick` is due."""
        return self.outlet.deadline

    def set_policy(self, policy: Policy, now: float) -> None:
        """Take a new network document: tell it to all, and forget the members that it revokes."""
        self.admission.take_policy(policy)
        self.policy = policy
        if self.hub is not None:
            self.hub.openness = self.admission.openness()
        self.herald.take_policy(policy)
        for registration in list(self.registry.by_key.values()):
            if registration.certificate.serial in policy.revoked:
                self.outlet.events.append(f"{registration.certificate.name} is revoked")
                self._forget(registration)
        self.herald.tell_all(now)

    def _forget(self, registration: Registration) -> None:
        self.herald.forget(registration)
        self.outlet.schedule.forget(registration)
        if self.hub is not None:
            self.hub.forget(registration)
        self.registry.remove(registration)
        self.tunnel.remove(registration.certificate.key)

    def receive(self, datagram: bytes, source: Endpoint, now: float) -> None:
        """Take one datagram from a socket."""
        try:
            self._receive(datagram, source, now)
        except Exception as error:
            self.guard.caught(error, now)

    def _receive(self, datagram: bytes, source: Endpoint, now: float) -> None:
        kind = messages.message_type(datagram)
        if kind == messages.RELAY:
            self.relay.receive(datagram, source)
        elif kind == messages.INTRODUCTION:
            self._on_introduction(datagram, source, now)
        elif stun.is_stun(datagram):
            self.answer_stun(datagram, source)
        else:
            result = self.tunnel.receive(datagram, source, now)
            if isinstance(result, bytes):
                self.outlet.datagrams.append((result, source))
            elif result is not None:
                self._on_input(result, source, now)

    def receive_run(self, datagrams: Sequence[bytes | memoryview], source: Endpoint, now: float) -> None:
        """Take datagrams of one size and source that came in one read: a relayed or tunnelled flow, nearly always."""
        for run in messages.runs(datagrams):
            if messages.message_type(run[0]) == messages.TRANSPORT:
                try:
                    result = self.tunnel.receive_run(run, now)
                    if result is not None:
                        self._on_input(result, source, now)
                except Exception as error:
                    self.guard.caught(error, now)
                continue
            for datagram in run:
                self.receive(bytes(datagram), source, now)

    def answer_stun(self, datagram: bytes, source: Endpoint) -> None:
        """Answers a Binding request, whoever asks: that is what STUN is for (RFC 8489, section 14)."""
        transaction = stun.read_request(datagram) if source[0] != "tls" else None
        if transaction is not None:
            self.outlet.datagrams.append((stun.response(transaction, source), source))

    def from_tun(self, packet: bytes, now: float) -> None:
        """Return a packet of the server's own host for a member."""
        if self.hub is not None:
            self.hub.from_host(packet, now)

    def tick(self, now: float) -> None:
        """Do what is due: retries, keepalives, members that have gone silent."""
        self.admission.tick(now)
        for expired in self.admission.expired(self.tunnel.unix_offset_s + now):
            self.outlet.events.append(f"the certificate of {expired.certificate.name} has expired")
            self._forget(expired)
        for registration in self.outlet.schedule.take(now):
            if self.registry.by_key.get(registration.certificate.key) is not registration:
                continue
            try:
                self._look_after(registration, now)
            except Exception as error:
                self.guard.caught(error, now)
                self.outlet.schedule.set(registration, now + AGAIN_S)
        self.outlet.deadline = min(self.outlet.schedule.next_s(), now + OFFLINE_AFTER_S / 4)

    def _look_after(self, registration: Registration, now: float) -> None:
        initiation, keepalive = self.tunnel.tick(registration.session, now)
        for message in (initiation, keepalive):
            if message is not None and registration.endpoint is not None:
                self.outlet.datagrams.append((message, registration.endpoint))
        if registration.online and now - registration.seen_s > OFFLINE_AFTER_S:
            registration.online = False
            self.outlet.events.append(f"{registration.certificate.name} is gone")
            self.herald.publish(registration, now)
        self.herald.tick(registration, now)
        silent_s = registration.seen_s + OFFLINE_AFTER_S + 0.001 if registration.online else math.inf
        due_s = min(registration.retry_s, registration.news_s, registration.session.deadline(), silent_s)
        self.outlet.due(registration, due_s)

    def status(self, now: float) -> list[dict[str, Any]]:
        """Return the members, for the status socket."""
        return [registration.status(now) for registration in self.registry.by_key.values()]

    def _on_introduction(self, datagram: bytes, source: Endpoint, now: float) -> None:
        if not introduction.MIN_LEN <= len(datagram) <= introduction.MAX_LEN:
            return
        if not self.tunnel.welcome(datagram, source, now):
            return
        try:
            self.admission.claim(introduction.read(datagram, self.tunnel.static), self.tunnel.unix_offset_s + now, now)
        except MalformedMessage:
            return
        except CredentialError as error:
            self.outlet.events.append(f"refused: {error}")

    def invite_back(self, text: str, endpoint: Endpoint, now: float) -> None:
        """Ask a member of before our restart for new keys where it was, which prove who and where it is.

        CredentialError: it is none any more.
        """
        self.admission.claim(text, self.tunnel.unix_offset_s + now, now)
        for key in self.admission.waiting(text):
            session = self.tunnel.sessions[key]
            self.outlet.datagrams.append((self.tunnel.initiate(session, now), endpoint))
            session.went([endpoint])

    def _on_input(self, result: Input, source: Endpoint, now: float) -> None:
        session = result.session
        if result.reply is not None:
            self.outlet.datagrams.append((result.reply, source))
            if not result.established:
                assert result.keypair is not None
                result.keypair.place = source
                return
        registration = self.registry.by_key.get(session.remote)
        if result.established:
            try:
                registration = self.admission.proved(session.remote)
            except CredentialError as error:
                self.outlet.events.append(f"refused: {error}")
        if registration is None:
            return
        registration.seen_s = now
        if not self.registry.holds(registration, source):
            keys = session.current
            if source[0] == "tls" or (result.established and keys is not None and keys.place == source):
                self._move(registration, source, now)
            else:
                self._probe(registration, source, now)
        forward = []
        for payload in result.payloads:
            if payload[0] >> 4:
                forward.append(payload)
            else:
                self._on_control(registration, payload, source, now)
        if forward and self.hub is not None:
            self.hub.forward_from(registration, forward, now)
        self.outlet.due(registration, session.deadline())

    def _move(self, registration: Registration, endpoint: Endpoint, now: float) -> None:
        self.registry.moved(registration, endpoint)
        registration.probe = None
        hello, registration.deferred = registration.deferred, None
        if hello is not None:
            self._on_hello(registration, hello, now)
        elif registration.greeted:
            self.herald.publish(registration, now)

    def _probe(self, registration: Registration, source: Endpoint, now: float) -> None:
        """Asks for a proof that a member receives where it seems to send from: anybody can write any source."""
        probe = registration.probe
        if probe is not None and probe.endpoint == source and now - probe.sent_s < PROBE_AGAIN_S:
            return
        registration.probe = Probe(source, self._rng(control.TRANSACTION_LEN), now)
        ping = control.frame(control.PING, registration.probe.transaction)
        self.outlet.send(registration, ping, now, source)

    def _on_control(self, registration: Registration, payload: bytes, source: Endpoint, now: float) -> None:
        try:
            kind, body = control.read(payload)
            if kind == control.PING:
                pong = body[: control.TRANSACTION_LEN] + control.pack_endpoint(source)
                self.outlet.send(registration, control.frame(control.PONG, pong), now, source)
            elif kind == control.PONG:
                probe = registration.probe
                if probe is not None and (source, body[: control.TRANSACTION_LEN]) == probe[:2]:
                    self._move(registration, source, now)
            elif kind == control.ETHERNET and self.hub is not None:
                self.hub.switch(registration, body, payload, now)
            elif kind == control.PUNCH:
                self._pass_on(registration, bodies.read_punch(body, "to"), now)
            elif kind == control.HELLO and registration.hellos.available(now):
                registration.hellos.take()
                hello = bodies.read_hello(body)
                if self.registry.holds(registration, source):
                    self._on_hello(registration, hello, now)
                else:
                    registration.deferred = hello
        except MalformedMessage as error:
            self.outlet.events.append(f"{registration.certificate.name} sent nonsense: {error}")

    def _pass_on(self, registration: Registration, punch: Punch, now: float) -> None:
        target = self.registry.by_number.get(punch.other)
        if target is not None and target.online and registration.punches.available(now):
            registration.punches.take()
            self.outlet.send(target, control.json_frame(control.PUNCH, punch.told(registration.number)), now)

    def _on_hello(self, registration: Registration, hello: Hello, now: float) -> None:
        late = hello.seq < registration.hello and now - registration.hello_s < OVERTAKEN_S
        if late and registration.session.established_s <= registration.hello_s:
            return  # with new keys since, the node might have started again, and count anew
        registration.hello_s = now
        registration.candidates = [list(candidate) for candidate in hello.candidates[:MAX_CANDIDATES_TOLD]]
        registration.hello, registration.direct, registration.hub = hello.seq, hello.direct, hello.hub
        if not registration.greeted or not registration.online:
            self.outlet.events.append(f"{registration.certificate.name} is here")
        registration.greeted = registration.online = True
        self.outlet.due(registration, now + OFFLINE_AFTER_S)
        self.herald.publish(registration, now, tell_itself=False)
        self.herald.heard(registration, hello, now)
