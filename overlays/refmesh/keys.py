"""Keys as text: 32 bytes in base64, as `wg genkey` and `wg pubkey` write them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

KEY_LEN = 32
Rng = Callable[[int], bytes]
"""Gives so many unpredictable bytes: `os.urandom`, or `random.Random(seed).randbytes` in a simulation."""


def encode(key: bytes) -> str:
    """Return a key, or any bytes, as base64 text."""
    return base64.b64encode(key).decode()


def decode(text: str) -> bytes:
    """Return the 32 bytes of a key in base64.

    Raises ValueError when the text is not base64 of exactly 32 bytes.
    """
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None
    if len(key) != KEY_LEN:
        raise ValueError(f"a key has {KEY_LEN} bytes, this one has {len(key)}")
    return key


def generate(rng: Rng = os.urandom) -> bytes:
    """Return a new private key of 32 bytes, for X25519 and Ed25519 alike."""
    return rng(KEY_LEN)


def public(private: bytes) -> bytes:
    """Return the X25519 public key (RFC 7748) of a node's private key."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def signing_public(private: bytes) -> bytes:
    """Return the Ed25519 public key (RFC 8032) of an authority's private key."""
    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def short(key: bytes) -> str:
    """Return a few characters of a key, for logs."""
    return encode(key)[:8]


def fingerprint(data: bytes) -> bytes:
    """16 bytes that stand for `data`: BLAKE2s (RFC 7693)."""
    return hashlib.blake2s(data, digest_size=16).digest()
