"""libp2p's identities: an Ed25519 key, and the peer ID that follows from it (libp2p specs, peer-ids)."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# Multihash "identity" of 36 bytes: a protobuf with key type 1 (Ed25519) and 32 bytes of data.
_ID_HEAD = bytes((0x00, 0x24, 0x08, 0x01, 0x12, 0x20))
# The private key's protobuf: the same, but for 64 bytes of data, seed and public key.
_PRIVATE_HEAD = bytes((0x08, 0x01, 0x12, 0x40))
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True)
class PeerIdentity:
    """A fresh key, or the one of `seed`."""

    seed: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    @property
    def public(self) -> bytes:
        """The Ed25519 public key."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()

    @property
    def peer_id(self) -> str:
        """The peer ID, in base58btc."""
        return base58(_ID_HEAD + self.public)

    @property
    def private_key(self) -> str:
        """The private key as libp2p's programs keep it, in base64."""
        return base64.b64encode(_PRIVATE_HEAD + self.seed + self.public).decode()


def base58(data: bytes) -> str:
    """Write `data` in the alphabet of Bitcoin; leading zero bytes are kept as leading ones."""
    number, digits = int.from_bytes(data), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits
