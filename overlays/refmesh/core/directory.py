"""Whom this node believes: the authority's certificates and network document, whoever delivers them."""

from __future__ import annotations

from overlays.refmesh import credentials
from overlays.refmesh.core.access import Access, Rule, parse_rules
from overlays.refmesh.credentials import Certificate, Policy
from overlays.refmesh.errors import CredentialError


class Directory:
    """Verifies what servers tell; they can withhold, but not invent."""

    def __init__(self, authority: bytes | None, own: Certificate | None, unix_offset_s: float) -> None:
        self.policy: Policy | None = None
        self._authority, self._own = authority, own
        self.unix_offset_s = unix_offset_s
        """What to add to `now` to get Unix time; certificates expire by it."""
        self._rules: tuple[Rule, ...] = ()
        self._joined: dict[str, bytes] = {}

    def take_policy(self, text: str) -> bool:
        """Take a network document; False when it is no newer than ours. CredentialError when it is not believed."""
        if self._authority is None:
            raise CredentialError("a network document without an authority to check it by")
        policy = credentials.verify_policy(text, self._authority)
        if self.policy is not None and policy.version <= self.policy.version:
            return False
        self._rules = parse_rules(policy.rules)
        self.policy = policy
        return True

    def renew(self, own: Certificate) -> None:
        """We have a new certificate."""
        self._own = own

    def ends_s(self, certificate: Certificate) -> float:
        """When a certificate ends, as a value of `now`."""
        return certificate.ends_s - self.unix_offset_s

    def revoked(self, certificate: Certificate) -> bool:
        """Whether the network document in force revokes it."""
        return self.policy is not None and certificate.serial in self.policy.revoked

    def certify(self, text: str, now: float) -> Certificate | None:
        """Another node's certificate; None for our own and a server's. CredentialError when it is not believed."""
        if self._authority is None or self._own is None:
            raise CredentialError("a certificate without an authority to check it by")
        revoked = self.policy.revoked if self.policy is not None else frozenset()
        certificate = credentials.verify(text, self._authority, self.unix_offset_s + now, revoked)
        if certificate.key == self._own.key or certificate.role != "node":
            return None
        if certificate.invited and self._joined.setdefault(certificate.serial, certificate.key) != certificate.key:
            raise CredentialError(f"the invitation of {certificate.name} has been used by another key")
        return certificate

    def access_to(self, other: Certificate | None) -> Access | None:
        """Return the rules between us and another member; None between plain WireGuard peers, who have none."""
        own = self._own
        if own is None or other is None:
            return None
        return Access(self._rules, (own.name, *own.groups), (other.name, *other.groups))
