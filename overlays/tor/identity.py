"""Tor's long-term keys, in the files that tor reads, and the names that follow from them. Pure but for fresh keys.

Formats: tor's dir-spec (fingerprint: SHA-1 of the PKCS#1 public key in DER), rend-spec-v3 section 6 (onion address) and
the head of tor's own hs_ed25519_secret_key.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

_ONION_VERSION = b"\x03"
_SECRET_HEAD = b"== ed25519v1-secret: type0 ==\0\0\0"


@dataclass(frozen=True)
class RsaIdentity:
    """An RSA key in PEM, and its fingerprint in upper-case hex."""

    pem: str
    fingerprint: str


def rsa_identity(bits: int) -> RsaIdentity:
    """Return a fresh key: 1024 bits for a relay (the protocol's own length), more for an authority."""
    return _identity_of(generate_private_key(65537, bits))


def _identity_of(key: RSAPrivateKey) -> RsaIdentity:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    # Its identity function is SHA-1 by the protocol; nothing here relies on it.
    digest = hashlib.sha1(public, usedforsecurity=False).hexdigest().upper()
    return RsaIdentity(pem.decode(), digest)


@dataclass(frozen=True)
class Onion:
    """An onion service: `secret` is the file hs_ed25519_secret_key in base64, `address` ends in .onion."""

    secret: str
    address: str


def onion(seed: bytes) -> Onion:
    """Return the service whose key grows from a 32-byte Ed25519 seed (RFC 8032 section 5.1.5)."""
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    expanded = bytearray(hashlib.sha512(seed).digest())
    expanded[0] &= 248
    expanded[31] = expanded[31] & 63 | 64
    checksum = hashlib.sha3_256(b".onion checksum" + public + _ONION_VERSION).digest()[:2]
    name = base64.b32encode(public + checksum + _ONION_VERSION).decode().lower()
    return Onion(base64.b64encode(_SECRET_HEAD + expanded).decode(), f"{name}.onion")
