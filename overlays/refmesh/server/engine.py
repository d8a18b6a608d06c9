"""The server: admits members, tells them of each other, relays what it cannot read, and as a hub forwards packets.

Datagrams, `now` and `rng` in; datagrams, packets for the TUN device, log lines and the next deadline out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from overlays.refmesh import credentials
from overlays.refmesh.core import introduction
from overlays.refmesh.core.coordination import MAX_CANDIDATES_TOLD, OFFLINE_AFTER_S, UPDATE_RETRY_S
from overlays.refmesh.core.tunnel import Input, Tunnel
from overlays.refmesh.credentials import Certificate, Policy
from overlays.refmesh.errors import CredentialError, MalformedMessage
from overlays.refmesh.keys import Rng, short
from overlays.refmesh.server.herald import Herald
from overlays.refmesh.server.hub import Hub
from overlays.refmesh.server.outlet import Outlet
from overlays.refmesh.server.registry import Registration, Registry
from overlays.refmesh.wire import control, messages, stun
from overlays.refmesh.wire.control import Endpoint

MAX_MEMBERS = 4096
INTRODUCTIONS_PER_S = 500


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
        own_addresses: Sequence[str] = (),
    ) -> None:
        """`own_addresses`: overlay addresses whose packets go to the TUN device."""
        self.tunnel = Tunnel(private, rng, unix_offset_s)
        self.registry = Registry()
        self.outlet = Outlet()
        self.herald = Herald(self.registry, self.outlet, rng, hub=hub)
        self.hub = Hub(self.registry, self.outlet, own_addresses) if hub else None
        self.joined: dict[str, bytes] = {}
        """The key that has used each invitation, by its serial; to be kept over restarts."""
        self.policy = policy
        self._authority, self._rng = authority, rng
        self._relay = relay
        self._second, self._introductions = -1.0, 0
        if policy is not None:
            self.set_policy(policy, 0.0)

    @property
    def deadline(self) -> float:
        """When `tick` is due."""
        return self.outlet.deadline

    def set_policy(self, policy: Policy, now: float) -> None:
        """A new network document: told to all; members that it revokes are forgotten."""
        self.policy = policy
        self.herald.take_policy(policy)
        for registration in list(self.registry.by_key.values()):
            if registration.certificate.serial in policy.revoked:
                self.outlet.events.append(f"{registration.certificate.name} is revoked")
                self.herald.log.drop(registration.certificate.name)
                self.registry.remove(registration)
                self.tunnel.remove(registration.certificate.key)
        self.herald.tell_all(now)

    def receive(self, datagram: bytes, source: Endpoint, now: float) -> None:
        """Takes one datagram from a socket."""
        kind = messages.message_type(datagram)
        if kind == messages.RELAY:
            self._on_relay(datagram, source)
        elif kind == messages.INTRODUCTION:
            self._on_introduction(datagram, now)
        elif stun.is_stun(datagram):
            self.answer_stun(datagram, source)
        else:
            result = self.tunnel.receive(datagram, control.pack_endpoint(source), now)
            if isinstance(result, bytes):
                self.outlet.datagrams.append((result, source))
            elif result is not None:
                self._on_input(result, source, now)

    def receive_run(self, datagrams: Sequence[bytes | memoryview], source: Endpoint, now: float) -> None:
        """Takes datagrams of one size and source that came in one read: a relayed or tunnelled flow, nearly always."""
        for run in messages.runs(datagrams):
            if messages.message_type(run[0]) == messages.TRANSPORT:
                result = self.tunnel.receive_run(run, now)
                if result is not None:
                    self._on_input(result, source, now)
                continue
            for datagram in run:
                self.receive(bytes(datagram), source, now)

    def answer_stun(self, datagram: bytes, source: Endpoint) -> None:
        """Answers a Binding request, whoever asks: that is what STUN is for (RFC 8489, section 14)."""
        transaction = stun.read_request(datagram) if source[0] != "tls" else None
        if transaction is not None:
            self.outlet.datagrams.append((stun.response(transaction, source), source))

    def relay_target(self, source: Endpoint, number: int) -> tuple[int, Endpoint] | None:
        """For a relay header from `source`: the number to put in, and where to send it. None: not to be relayed."""
        sender, target = self.registry.by_endpoint.get(source), self.registry.by_number.get(number)
        if not self._relay or sender is None or target is None or target.endpoint is None:
            return None
        return sender.number, target.endpoint

    def from_tun(self, packet: bytes, now: float) -> None:
        """A packet of the server's own host for a member."""
        if self.hub is not None:
            self.hub.forward([packet], now)

    def tick(self, now: float) -> None:
        """Does what is due: retries, keepalives, members that have gone silent."""
        for registration in list(self.registry.by_key.values()):
            initiation, keepalive = self.tunnel.tick(registration.session, now)
            for message in (initiation, keepalive):
                if message is not None and registration.endpoint is not None:
                    self.outlet.datagrams.append((message, registration.endpoint))
            if registration.online and now - registration.seen_s > OFFLINE_AFTER_S:
                registration.online = False
                self.outlet.events.append(f"{registration.certificate.name} is gone")
                self.herald.publish(registration, now)
            self.herald.tick(registration, now)
        next_s = (min(r.retry_s, r.news_s, r.session.deadline()) for r in self.registry.by_key.values())
        self.outlet.deadline = min(min(next_s, default=math.inf), now + OFFLINE_AFTER_S / 4)

    def status(self, now: float) -> list[dict[str, Any]]:
        """The members, for the status socket."""
        return [
            {
                "name": registration.certificate.name,
                "addresses": list(registration.certificate.addresses),
                "online": registration.online,
                "endpoint": list(registration.endpoint) if registration.endpoint else None,
                "relayed_bytes": registration.relayed_bytes,
                "seen_s_ago": round(now - registration.seen_s, 3) if registration.greeted else None,
            }
            for registration in self.registry.by_key.values()
        ]

    def _on_introduction(self, datagram: bytes, now: float) -> None:
        if now - self._second >= 1.0:
            self._second, self._introductions = now, 0
        self._introductions += 1
        if self._introductions > INTRODUCTIONS_PER_S:
            return
        try:
            text = introduction.read(datagram, self.tunnel.static)
        except MalformedMessage:
            return
        try:
            self._admit(self._verified(text, now))
        except CredentialError as error:
            self.outlet.events.append(f"refused: {error}")

    def invite_back(self, text: str, endpoint: Endpoint, now: float) -> None:
        """A member of before our restart: asks it for new keys where it was. CredentialError: it is none any more."""
        certificate = self._verified(text, now)
        self._admit(certificate)
        registration = self.registry.by_key[certificate.key]
        self.registry.moved(registration, endpoint)
        registration.session.want(now)
        self.outlet.wake(now)

    def _verified(self, text: str, now: float) -> Certificate:
        revoked = self.policy.revoked if self.policy is not None else frozenset()
        return credentials.verify(text, self._authority, self.tunnel.unix_offset_s + now, revoked)

    def _admit(self, certificate: Certificate) -> None:
        known = self.registry.by_key.get(certificate.key)
        if known is not None and known.certificate.text == certificate.text:
            return
        user = self.joined.setdefault(certificate.serial, certificate.key) if certificate.invited else certificate.key
        if user != certificate.key:
            raise CredentialError(f"the invitation of {certificate.name} has been used by another key")
        if len(self.registry.by_key) >= MAX_MEMBERS:
            raise CredentialError(f"no room for {certificate.name}: {MAX_MEMBERS} members are registered")
        if known is not None:
            self.registry.remove(known)
        for other in [r for r in self.registry.by_key.values() if r.certificate.name == certificate.name]:
            # The authority gave this member a new key; the old one's addresses are the new one's.
            self.registry.remove(other)
            self.tunnel.remove(other.certificate.key)
        number = 0
        while not number or number in self.registry.by_number:
            number = int.from_bytes(self._rng(4), "little")
        session = self.tunnel.add(certificate.key)
        self.registry.add(Registration(certificate, session, number))
        self.outlet.events.append(f"admitted {certificate.name} ({short(certificate.key)})")

    def _on_input(self, result: Input, source: Endpoint, now: float) -> None:
        registration = self.registry.by_key[result.session.remote]
        if result.reply is not None:
            self.outlet.datagrams.append((result.reply, source))
            if not result.established:
                return
        registration.seen_s = now
        if registration.endpoint != source:
            self.registry.moved(registration, source)
            if registration.greeted:
                self.herald.publish(registration, now)
        forward = []
        for payload in result.payloads:
            if payload[0] >> 4:
                forward.append(payload)
            else:
                self._on_control(registration, payload, source, now)
        if forward and self.hub is not None:
            self.hub.forward_from(registration, forward, now)
        self.outlet.wake(result.session.deadline())

    def _on_control(self, registration: Registration, payload: bytes, source: Endpoint, now: float) -> None:
        try:
            kind, body = control.read(payload)
            if kind == control.PING:
                pong = body[: control.TRANSACTION_LEN] + control.pack_endpoint(source)
                self.outlet.send(registration, control.frame(control.PONG, pong), now)
            elif kind == control.ETHERNET and self.hub is not None:
                self.hub.switch(registration, body, payload, now)
            elif kind == control.PUNCH:
                self._pass_on(registration, control.read_json(body), now)
            elif kind == control.HELLO:
                self._on_hello(registration, control.read_json(body), now)
        except (MalformedMessage, KeyError, TypeError, ValueError) as error:
            self.outlet.events.append(f"{registration.certificate.name} sent nonsense: {error}")

    def _pass_on(self, registration: Registration, body: dict[str, Any], now: float) -> None:
        target = self.registry.by_number.get(int(body.pop("to")))
        if target is not None and target.online:
            self.outlet.send(target, control.json_frame(control.PUNCH, body | {"from": registration.number}), now)

    def _on_hello(self, registration: Registration, hello: dict[str, Any], now: float) -> None:
        candidates = [list(candidate) for candidate in control.candidates(hello["candidates"][:MAX_CANDIDATES_TOLD])]
        registration.candidates, registration.hello = candidates, int(hello["seq"])
        registration.direct, registration.hub = bool(hello["direct"]), bool(hello["hub"])
        known = int(hello["rev"]) if hello["epoch"] == self.herald.epoch else 0
        if known != registration.known:
            registration.known, registration.retry_wait_s = known, UPDATE_RETRY_S
        if not hello.get("quiet"):
            # Who asks gets everything again; who only says how far it is has the rest on its way.
            registration.told = known
        if not registration.greeted or not registration.online:
            self.outlet.events.append(f"{registration.certificate.name} is here")
        registration.greeted = registration.online = True
        self.herald.publish(registration, now, tell_itself=False)
        if not hello.get("quiet"):
            self.herald.tell(registration, now, answer=True)
        elif registration.known >= self.herald.log.revision:
            registration.retry_s = math.inf

    def _on_relay(self, datagram: bytes, source: Endpoint) -> None:
        if len(datagram) < messages.RELAY_HEAD.size:
            return
        target = self.relay_target(source, messages.RELAY_HEAD.unpack_from(datagram)[1])
        if target is not None:
            number, endpoint = target
            self.count_relayed(source, len(datagram))
            head = messages.RELAY_HEAD.pack(messages.RELAY, number)
            self.outlet.datagrams.append((head + datagram[messages.RELAY_HEAD.size :], endpoint))

    def count_relayed(self, source: Endpoint, octets: int) -> None:
        """Counts what a member had relayed, headers included."""
        self.registry.by_endpoint[source].relayed_bytes += octets
