"""Who becomes a member of a server: an introduction is a claim, and the handshake of its key is the proof.

| from | event | to |
|---|---|---|
| unknown | introduction that the authority stands behind | waiting: its handshake is answered |
| waiting | first message under the new keys | member; who had name or address by an older certificate is forgotten |
| waiting | 10 s | unknown |
| member | introduction with a newer certificate of the same key | member; it counts from the next handshake on |
| any | older certificate, or one of a used invitation | refused |
| member | its certificate ends, or is revoked | unknown |

A recorded introduction therefore brings nothing back, and changes nothing for who is there.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from typing import NamedTuple

from overlays.refmesh import credentials
from overlays.refmesh.core.access import Access, Openness, Rule, parse_rules
from overlays.refmesh.core.tunnel import Tunnel
from overlays.refmesh.credentials import NODE, Certificate, Policy
from overlays.refmesh.errors import CredentialError
from overlays.refmesh.keys import Rng, short
from overlays.refmesh.server.outlet import Outlet
from overlays.refmesh.server.registry import Registration, Registry

MAX_MEMBERS, MAX_WAITING = 4096, 1024
WAIT_S = 10.0
Keep = Callable[[Mapping[str, bytes]], bool]
"""Writes down which key has used each invitation; False: it could not, so it must not take effect."""


class _Claim(NamedTuple):
    certificate: Certificate
    until_s: float


class Admission:
    """The door of one server."""

    def __init__(
        self,
        authority: bytes,
        tunnel: Tunnel,
        registry: Registry,
        outlet: Outlet,
        rng: Rng,
        *,
        own: Certificate | None,
        keep: Keep | None,
        forget: Callable[[Registration], None],
    ) -> None:
        """`own`: our certificate; `keep`: what writes `joined` down, None: nothing does, so no node can join.

        `forget`: removes a member from all that knows it.
        """
        self.joined: dict[str, bytes] = {}
        """The key that has used each invitation, by its serial."""
        self.policy: Policy | None = None
        self._authority, self._tunnel, self._registry = authority, tunnel, registry
        self._outlet, self._rng = outlet, rng
        self._own, self._keep, self._forget_member = own, keep, forget
        self._rules: tuple[Rule, ...] = ()
        self._waiting: dict[bytes, _Claim] = {}
        self._ends: list[tuple[int, bytes]] = []
        """A heap: when which key's certificate ends."""

    def take_policy(self, policy: Policy) -> None:
        """Return a new network document; CredentialError when its rules make no sense."""
        self._rules = parse_rules(policy.rules)
        self.policy = policy
        for registration in self._registry.by_key.values():
            self._set_access(registration)

    def openness(self) -> Openness:
        """Return between whom the rules in force allow everything."""
        return Openness(self._rules)

    def expired(self, unix_s: float) -> list[Registration]:
        """Return the members whose certificates have ended since this was last asked."""
        ended = []
        while self._ends and self._ends[0][0] < unix_s:
            _, key = heapq.heappop(self._ends)
            member = self._registry.by_key.get(key)
            if member is not None and member.certificate.ends_s < unix_s:
                ended.append(member)
        return ended

    def claim(self, text: str, unix_s: float, now: float) -> None:
        """Take an introduction; CredentialError when it is refused."""
        known = self._registry.by_text.get(text)
        if known is not None and known.certificate.not_after >= unix_s:
            return
        revoked = self.policy.revoked if self.policy is not None else frozenset()
        certificate = credentials.verify(text, self._authority, unix_s, revoked)
        if certificate.role != NODE:
            raise CredentialError(f"{certificate.name} is no node")
        self._check(certificate)
        waiting = self._waiting.get(certificate.key)
        if waiting is not None and not certificate.supersedes(waiting.certificate):
            certificate = waiting.certificate
        elif certificate.key in self._registry.by_key:
            member = self._registry.by_key[certificate.key].certificate
            if not certificate.supersedes(member):
                return
        self._waiting.pop(certificate.key, None)
        while len(self._waiting) >= MAX_WAITING:
            self._forget(next(iter(self._waiting)))
        self._waiting[certificate.key] = _Claim(certificate, now + WAIT_S)
        self._tunnel.add(certificate.key)
        self._outlet.wake(now + WAIT_S)

    def waiting(self, text: str) -> list[bytes]:
        """Return the key that must complete a handshake before this certificate counts; none: nothing is waited for."""
        return [key for key, claim in self._waiting.items() if claim.certificate.text == text]

    def proved(self, key: bytes) -> Registration | None:
        """Take in a member whose handshake is complete, and return it. CredentialError: refused after all."""
        member = self._registry.by_key.get(key)
        claim = self._waiting.pop(key, None)
        if claim is None:
            return member
        certificate = claim.certificate
        try:
            self._check(certificate)
            if member is None and len(self._registry.by_key) >= MAX_MEMBERS:
                raise CredentialError(f"no room for {certificate.name}: {MAX_MEMBERS} members are registered")
            if certificate.invited:
                self._use(certificate)
        except CredentialError:
            if member is None:
                self._tunnel.remove(key)
            raise
        for rival in self._registry.rivals(certificate):
            # The authority gave this member a new key; the old one's addresses are the new one's.
            self._forget_member(rival)
        if member is not None:
            self._registry.recertify(member, certificate)
            self._note(member)
            return member
        number = 0
        while not number or number in self._registry.by_number:
            number = int.from_bytes(self._rng(4), "little")
        member = Registration(certificate, self._tunnel.sessions[key], number)
        self._registry.add(member)
        self._note(member)
        self._outlet.events.append(f"admitted {certificate.name} ({short(key)})")
        return member

    def tick(self, now: float) -> None:
        """Forgets who has introduced itself and not completed a handshake."""
        while self._waiting:
            key = next(iter(self._waiting))
            if self._waiting[key].until_s > now:
                self._outlet.wake(self._waiting[key].until_s)
                return
            self._forget(key)

    def _note(self, member: Registration) -> None:
        heapq.heappush(self._ends, (member.certificate.ends_s, member.certificate.key))
        self._set_access(member)

    def _set_access(self, member: Registration) -> None:
        if self._own is not None:
            own, other, before = self._own, member.certificate, member.access
            member.access = Access(self._rules, (own.name, *own.groups), (other.name, *other.groups))
            if before is not None:
                member.access.inherit(before)

    def _check(self, certificate: Certificate) -> None:
        if certificate.invited and certificate.key != self.joined.get(certificate.serial):
            if self._own is None or certificate.server != self._own.name:
                raise CredentialError(f"the invitation of {certificate.name} is for server {certificate.server!r}")
            if self._keep is None:
                raise CredentialError(f"no node can join as {certificate.name}: give this server a state_dir")
        if self.policy is not None and certificate.serial in self.policy.revoked:
            raise CredentialError(f"the certificate of {certificate.name} is revoked")
        if certificate.invited and self.joined.get(certificate.serial, certificate.key) != certificate.key:
            raise CredentialError(f"the invitation of {certificate.name} has been used by another key")
        for rival in self._registry.rivals(certificate):
            if not certificate.supersedes(rival.certificate):
                raise CredentialError(f"the certificate of {certificate.name} is older than the one in use")

    def _use(self, certificate: Certificate) -> None:
        """Note who has used an invitation, before it has any effect: what is not written down could be used again."""
        if self.joined.get(certificate.serial) == certificate.key:
            return
        self.joined[certificate.serial] = certificate.key
        if self._keep is None or not self._keep(self.joined):
            del self.joined[certificate.serial]
            raise CredentialError(f"no node can join as {certificate.name} now: this server cannot write that down")

    def _forget(self, key: bytes) -> None:
        del self._waiting[key]
        if key not in self._registry.by_key:
            self._tunnel.remove(key)
