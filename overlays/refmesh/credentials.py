"""Who belongs to a network: what the authority signs, and what everybody checks for himself.

A *link* is `BODY.SIGNATURE`, both in URL-safe base64; the body is JSON with sorted keys, signed with Ed25519 together
with its kind. A certificate is one link signed by the authority, or two: the second is an *invitation* signed by the
authority, the first names a node's key and is signed with the invitation's key. So a server can let a new node in with
a one-time join key, and yet no server can make a node up: only the authority's signature counts.
"""

from __future__ import annotations

import base64
import functools
import ipaddress
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from overlays.refmesh import keys
from overlays.refmesh.errors import CredentialError, MalformedMessage
from overlays.refmesh.keys import Rng
from overlays.refmesh.wire import fields

MEMBER, INVITATION, JOINED, POLICY = "member", "invitation", "joined", "policy"
NODE, SERVER = "node", "server"
MAX_TEXT = 4096
MAX_POLICY = 1 << 18
MAX_NAME, MAX_GROUPS, MAX_ADDRESSES, MAX_RULES = 255, 64, 16, 4096
CLOCK_SKEW_S = 300


@dataclass(frozen=True)
class Certificate:
    """A verified certificate: this X25519 key is this member, with these addresses, until then."""

    name: str
    key: bytes
    addresses: tuple[str, ...]
    """With prefix length, such as `10.77.0.2/24`."""
    groups: tuple[str, ...]
    role: str
    """`node` or `server`."""
    serial: str
    not_after: int
    """Unix time in seconds."""
    text: str
    invited: bool
    issued: int = 0
    """Unix time in seconds; says which of two certificates is newer."""
    server: str = ""
    """Of one that came by an invitation: the server that takes it, once."""

    @property
    def ends_s(self) -> int:
        """Unix time in seconds from which no node takes it, the clocks being as wrong as they may be."""
        return self.not_after + CLOCK_SKEW_S

    def supersedes(self, other: Certificate) -> bool:
        """Whether this one is newer: everybody orders two certificates alike, whichever he hears of first."""
        return (self.issued, self.not_after, self.serial) > (other.issued, other.not_after, other.serial)


@dataclass(frozen=True)
class Policy:
    """The network document: what is revoked and who may talk to whom; the highest version holds."""

    version: int
    revoked: frozenset[str]
    rules: tuple[Mapping[str, Any], ...]
    text: str


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _b64(data) != text:
        # Unused bits, padding and the other alphabet: many texts for one signature, and each would be a new identity.
        raise ValueError("not in the canonical encoding")
    return data


def _canonical(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def sign_link(body: Mapping[str, Any], private: bytes) -> str:
    """Return a link over `body` (which names its `kind`), signed with an Ed25519 private key."""
    data = _canonical(body)
    signature = Ed25519PrivateKey.from_private_bytes(private).sign(_signed(body["kind"], data))
    return f"{_b64(data)}.{_b64(signature)}"


def _signed(kind: str, data: bytes) -> bytes:
    return b"refmesh " + kind.encode() + b"\0" + data


def _open_link(text: str, public: bytes, kind: str) -> dict[str, Any]:
    try:
        data, signature = (_unb64(part) for part in text.split(".", 1))
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _signed(kind, data))
        body = fields.load_object(data)
    except InvalidSignature:
        raise CredentialError(f"the signature on this {kind} is not the authority's") from None
    except (ValueError, MalformedMessage):
        raise CredentialError(f"this is not a {kind}") from None
    if body.get("kind") != kind or _canonical(body) != data:
        raise CredentialError(f"this is not a {kind}")
    return body


def issue(
    authority: bytes,
    name: str,
    key: bytes,
    addresses: Collection[str],
    *,
    role: str = "node",
    groups: Collection[str] = (),
    not_after: int,
    issued: int = 0,
    rng: Rng,
) -> str:
    """Return a certificate for a member's public key, signed with the authority's private key."""
    return sign_link(
        _member(
            MEMBER,
            name,
            key,
            addresses=addresses,
            role=role,
            groups=groups,
            not_after=not_after,
            issued=issued,
            rng=rng,
        ),
        authority,
    )


def invite(
    authority: bytes,
    name: str,
    addresses: Collection[str],
    *,
    groups: Collection[str] = (),
    not_after: int,
    issued: int = 0,
    server: str,
    rng: Rng,
) -> str:
    """Return a one-time join key: a secret that lets one node, which makes its own key, become member `name`.

    Once means at one place: `server` names the server that takes it. The others do not know what that one has taken.
    """
    seed = keys.generate(rng)
    body = _member(
        INVITATION,
        name,
        keys.signing_public(seed),
        addresses=addresses,
        role="node",
        groups=groups,
        not_after=not_after,
        issued=issued,
        rng=rng,
    ) | {"server": server}
    return f"{_b64(seed)}:{sign_link(body, authority)}"


def redeem(join_key: str, public: bytes) -> str:
    """Return the certificate that a join key gives to a node's X25519 public key; CredentialError: no join key."""
    seed, colon, invitation = join_key.partition(":")
    try:
        body = {"kind": JOINED, "key": keys.encode(public)}
        return f"{sign_link(body, _unb64(seed))}/{invitation}"
    except ValueError:
        raise CredentialError("this is not a join key" + ("" if colon else ": it has no colon")) from None


def verify(text: str, authority: bytes, unix_s: float, revoked: Collection[str] = ()) -> Certificate:
    """Return the certificate, if the authority of this public key stands behind it; CredentialError says why not."""
    if len(text) > MAX_TEXT:
        raise CredentialError("this certificate is too long to be one")
    certificate = _authentic(text, authority)
    if unix_s > certificate.ends_s:
        raise CredentialError(f"the certificate of {certificate.name} has expired")
    if certificate.serial in revoked:
        raise CredentialError(f"the certificate of {certificate.name} is revoked")
    return certificate


@functools.lru_cache(1024)
def _authentic(text: str, authority: bytes) -> Certificate:
    """Return a certificate whenever it holds. Who comes back shows the same again: what was refused is not kept."""
    first, slash, invitation = text.partition("/")
    try:
        if slash:
            body = _open_link(invitation, authority, INVITATION)
            key = _key(_open_link(first, _key(body), JOINED))
        else:
            body = _open_link(first, authority, MEMBER)
            key = _key(body)
        return Certificate(
            name=fields.text(body, "name", MAX_NAME),
            key=key,
            addresses=_addresses(body),
            groups=fields.texts(body, "groups", MAX_GROUPS, MAX_NAME),
            role=fields.text(body, "role", MAX_NAME),
            serial=fields.text(body, "serial", MAX_NAME),
            not_after=fields.number(body, "not_after", 0, fields.U63),
            text=text,
            invited=bool(slash),
            server=fields.text(body, "server", MAX_NAME) if "server" in body else "",
            issued=fields.number(body, "issued", 0, fields.U63) if "issued" in body else 0,
        )
    except (MalformedMessage, ValueError) as error:
        raise CredentialError(f"a certificate with a wrong field: {error}") from None


def sign_policy(
    authority: bytes, version: int, rules: Collection[Mapping[str, Any]], revoked: Collection[str] = ()
) -> str:
    """Return the network document as text; the rules' form is `core/access.py`'s."""
    body = {"kind": POLICY, "version": version, "rules": list(rules), "revoked": sorted(revoked)}
    return sign_link(body, authority)


@functools.lru_cache(32)
def verify_policy(text: str, authority: bytes) -> Policy:
    """Return the network document, if it is the authority's; CredentialError says why not."""
    if len(text) > MAX_POLICY:
        raise CredentialError("this network document is too long to be one")
    body = _open_link(text, authority, POLICY)
    try:
        rules = tuple(dict(rule) for rule in fields.items(body, "rules", MAX_RULES))
        revoked = fields.texts(body, "revoked", MAX_RULES, MAX_NAME)
        return Policy(fields.number(body, "version", 0, fields.U63), frozenset(revoked), rules, text)
    except (MalformedMessage, TypeError, ValueError) as error:
        raise CredentialError(f"a network document with a wrong field: {error}") from None


def _key(body: dict[str, Any]) -> bytes:
    return keys.decode(fields.text(body, "key", 64))


def _addresses(body: dict[str, Any]) -> tuple[str, ...]:
    addresses = fields.texts(body, "addresses", MAX_ADDRESSES, 64)
    for address in addresses:
        ipaddress.ip_interface(address)
    return addresses


def _member(
    kind: str,
    name: str,
    key: bytes,
    *,
    addresses: Collection[str],
    role: str,
    groups: Collection[str],
    not_after: int,
    issued: int,
    rng: Rng,
) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": name,
        "key": keys.encode(key),
        "addresses": list(addresses),
        "role": role,
        "groups": list(groups),
        "serial": rng(8).hex(),
        "not_after": not_after,
        "issued": issued,
    }
