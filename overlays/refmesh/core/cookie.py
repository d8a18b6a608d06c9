"""MACs and cookies: who gets an answer, and what a busy responder asks for first.

Source: the WireGuard paper, sections 5.4.4 and 5.4.7.
"""

from __future__ import annotations

import hmac
import struct
from hashlib import blake2s

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from overlays.refmesh.errors import MalformedMessage
from overlays.refmesh.keys import Rng
from overlays.refmesh.wire import messages
from overlays.refmesh.wire.messages import MAC_LEN

COOKIE_LIFETIME_S = 120.0
REMEMBERED = 16
_WORDS = struct.Struct("<16I")


def _mac(key: bytes, data: bytes) -> bytes:
    return blake2s(data, key=key, digest_size=MAC_LEN).digest()


def _hchacha20(key: bytes, nonce: bytes) -> bytes:
    # HChaCha20 is the ChaCha20 block without its last addition, so we subtract what that addition added.
    block = _WORDS.unpack(Cipher(ChaCha20(key, nonce), None).encryptor().update(bytes(64)))
    initial = _WORDS.unpack(b"expand 32-byte k" + key + nonce)
    state = [(a - b) & 0xFFFFFFFF for a, b in zip(block, initial, strict=True)]
    return struct.pack("<8I", *state[:4], *state[12:])


def xchacha20poly1305(key: bytes, nonce: bytes) -> tuple[ChaCha20Poly1305, bytes]:
    """Return cipher and 12-byte nonce for a key of 32 and a nonce of 24 bytes (draft-irtf-cfrg-xchacha, section 2)."""
    return ChaCha20Poly1305(_hchacha20(key, nonce[:16])), bytes(4) + nonce[16:]


class Macs:
    """Puts MACs on messages to one peer, and keeps the cookie that this peer has asked for."""

    def __init__(self, remote: bytes) -> None:
        self._mac1_key = blake2s(b"mac1----" + remote).digest()
        self._cookie_key = blake2s(b"cookie--" + remote).digest()
        self._sent: dict[int, bytes] = {}
        """mac1 of the last messages, by their sender index: on a long way a cookie reply does not answer the last."""
        self._cookie = b""
        self._cookie_until = 0.0

    def protect(self, message: bytes, now: float) -> bytes:
        """Return a handshake message with mac1 and mac2 behind it; mac2 is zero unless a fresh cookie is at hand."""
        mac1 = self.first(message)
        while len(self._sent) >= REMEMBERED:
            del self._sent[next(iter(self._sent))]
        self._sent[messages.INITIATION_HEAD.unpack_from(message)[1]] = mac1
        return message + mac1 + self.proof(message + mac1, now)

    def first(self, message: bytes) -> bytes:
        """mac1 of a message: that we know whom we write to."""
        return _mac(self._mac1_key, message)

    def proof(self, message: bytes, now: float) -> bytes:
        """mac2 of a message that has its mac1: that we receive where we send from, if the peer has asked."""
        return _mac(self._cookie, message) if now < self._cookie_until else bytes(MAC_LEN)

    def accept_reply(self, reply: bytes, now: float) -> None:
        """Take the cookie out of a reply of 64 bytes; MalformedMessage when it answers nothing of ours."""
        _, index, nonce = messages.COOKIE_HEAD.unpack_from(reply)
        mac1 = self._sent.get(index)
        if mac1 is None:
            raise MalformedMessage("a cookie that was not asked for")
        cipher, short_nonce = xchacha20poly1305(self._cookie_key, nonce)
        try:
            self._cookie = cipher.decrypt(short_nonce, reply[32:], mac1)
        except InvalidTag:
            raise MalformedMessage("a cookie reply that does not authenticate") from None
        self._cookie_until = now + COOKIE_LIFETIME_S


class Gate:
    """The responder's door: no MAC, no work; when busy, no cookie, no work."""

    def __init__(self, public: bytes, rng: Rng) -> None:
        self._mac1_key = blake2s(b"mac1----" + public).digest()
        self._cookie_key = blake2s(b"cookie--" + public).digest()
        self._rng = rng
        self._secret = b""
        self._secret_until = 0.0

    def valid_mac1(self, message: bytes) -> bool:
        """Whether the sender knows our public key."""
        return hmac.compare_digest(_mac(self._mac1_key, message[:-32]), message[-32:-16])

    def valid_mac2(self, message: bytes, source: bytes, now: float) -> bool:
        """Whether the sender holds the cookie that we gave to `source` (address and port as bytes)."""
        return hmac.compare_digest(_mac(self._cookie(source, now), message[:-16]), message[-16:])

    def reply(self, message: bytes, source: bytes, now: float) -> bytes:
        """Return a cookie reply of 64 bytes to a handshake message whose mac1 is valid."""
        nonce = self._rng(24)
        cipher, short_nonce = xchacha20poly1305(self._cookie_key, nonce)
        sealed = cipher.encrypt(short_nonce, self._cookie(source, now), message[-32:-16])
        sender = messages.INITIATION_HEAD.unpack_from(message)[1]
        return messages.COOKIE_HEAD.pack(messages.COOKIE_REPLY, sender, nonce) + sealed

    def _cookie(self, source: bytes, now: float) -> bytes:
        if now >= self._secret_until:
            self._secret = self._rng(32)
            self._secret_until = now + COOKIE_LIFETIME_S
        return _mac(self._secret, source)
