"""Crypto for simulations of many nodes: the sizes and the failures of the real thing at a fraction of its time.

It protects nothing: a public key is a hash of the private one, and what two keys share is a hash of the public ones.
"""

from __future__ import annotations

from hashlib import blake2s
from typing import cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from overlays.refmesh.core.noise import StaticKey, Suite

TAG_LEN = 16


class CheapSuite(Suite):
    """Cheap key pairs and ciphers."""

    def static(self, private: bytes) -> StaticKey:
        """Return a key pair whose halves anybody can compute."""
        return CheapKey(private)

    def aead(self, key: bytes) -> ChaCha20Poly1305:
        """Return a cipher that hides nothing and knows its own key again."""
        return cast(ChaCha20Poly1305, CheapCipher(key))


CHEAP = CheapSuite()


def cheap_public(private: bytes) -> bytes:
    """Return the public key of a private one."""
    return blake2s(private, person=b"public").digest()


class CheapKey(StaticKey):
    """A key pair."""

    suite = CHEAP

    def __init__(self, private: bytes) -> None:
        self.public = cheap_public(private)

    def exchange(self, public: bytes) -> bytes:
        """Return what both sides can compute."""
        low, high = sorted((self.public, public))
        return blake2s(low + high, person=b"shared").digest()


class CheapCipher:
    """Appends 16 bytes of its key for a tag."""

    def __init__(self, key: bytes) -> None:
        self._tag = key[:TAG_LEN]

    def encrypt(self, nonce: bytes, data: bytes, associated: bytes | None) -> bytes:  # noqa: ARG002 - an AEAD's form
        """Return the data and the tag."""
        return bytes(data) + self._tag

    def decrypt(self, nonce: bytes, data: bytes, associated: bytes | None) -> bytes:  # noqa: ARG002 - an AEAD's form
        """Return the data; InvalidTag where the tag is another key's."""
        if data[-TAG_LEN:] != self._tag:
            raise InvalidTag
        return bytes(data[:-TAG_LEN])

    def encrypt_into(self, nonce: bytes, data: bytes, associated: bytes | None, buffer: memoryview) -> int:
        """Return the same, into a buffer; the number of octets."""
        sealed = self.encrypt(nonce, data, associated)
        buffer[: len(sealed)] = sealed
        return len(sealed)

    def decrypt_into(self, nonce: bytes, data: bytes, associated: bytes | None, buffer: memoryview) -> int:
        """Return the same, into a buffer; the number of octets."""
        plain = self.decrypt(nonce, data, associated)
        buffer[: len(plain)] = plain
        return len(plain)
