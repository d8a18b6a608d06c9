"""The handshake: Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s as WireGuard frames it.

Source: the WireGuard paper, section 5.4, and the Noise Protocol Framework, revision 34. The names of the variables are
the paper's: C is the chaining key, H the hash, E an ephemeral key, S a static one. MACs are `core/cookie.py`'s matter.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import blake2s

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from overlays.refmesh.errors import MalformedMessage
from overlays.refmesh.keys import Rng
from overlays.refmesh.wire import messages

NO_PSK = bytes(32)
_ZERO_NONCE = bytes(12)


def _hash(*parts: bytes) -> bytes:
    return blake2s(b"".join(parts)).digest()


_C0 = _hash(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
_H0 = _hash(_C0, b"WireGuard v1 zx2c4 Jason@zx2c4.com")


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, blake2s)


def _kdf1(key: bytes, data: bytes) -> bytes:
    return _hmac(_hmac(key, data), b"\x01")


def _kdf2(key: bytes, data: bytes) -> tuple[bytes, bytes]:
    secret = _hmac(key, data)
    first = _hmac(secret, b"\x01")
    return first, _hmac(secret, first + b"\x02")


def _kdf3(key: bytes, data: bytes) -> tuple[bytes, bytes, bytes]:
    secret = _hmac(key, data)
    first = _hmac(secret, b"\x01")
    second = _hmac(secret, first + b"\x02")
    return first, second, _hmac(secret, second + b"\x03")


class Suite:
    """The primitives under handshake and transport. A simulation of many nodes may bring cheap ones of its own.

    Whoever makes a `Tunnel` says which; keys carry it on to all that is derived from them.
    """

    def static(self, private: bytes) -> StaticKey:
        """Return a key pair from 32 bytes."""
        return StaticKey(private)

    def aead(self, key: bytes) -> ChaCha20Poly1305:
        """Return a cipher with nonces of 12 bytes and tags of 16."""
        return ChaCha20Poly1305(key)


REAL = Suite()


def _seal(suite: Suite, key: bytes, plain: bytes, associated: bytes) -> bytes:
    return suite.aead(key).encrypt(_ZERO_NONCE, plain, associated)


def _open(suite: Suite, key: bytes, sealed: bytes, associated: bytes) -> bytes:
    try:
        return suite.aead(key).decrypt(_ZERO_NONCE, sealed, associated)
    except InvalidTag:
        raise MalformedMessage("a handshake field does not authenticate") from None


class StaticKey:
    """A node's X25519 key pair."""

    suite = REAL

    def __init__(self, private: bytes) -> None:
        self._private = X25519PrivateKey.from_private_bytes(private)
        self.public = self._private.public_key().public_bytes_raw()

    def exchange(self, public: bytes) -> bytes:
        """Return the shared secret of 32 bytes; MalformedMessage when `public` is a point of low order."""
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:
            raise MalformedMessage("a public key of low order") from None


@dataclass(frozen=True)
class TransportKeys:
    """What a finished handshake gives: a key for each way and the index that each side wants to be addressed by."""

    send: bytes
    receive: bytes
    local_index: int
    remote_index: int
    initiator: bool
    suite: Suite = REAL


class Initiation:
    """The initiator's half; keep it until its response has come or it is too old."""

    def __init__(self, static: StaticKey, remote: bytes, index: int, timestamp: bytes, rng: Rng) -> None:
        """`timestamp` is TAI64N, 12 bytes, and must grow from one initiation to the next."""
        self._static = static
        self._index = index
        self._ephemeral = static.suite.static(rng(32))
        ephemeral = self._ephemeral.public
        chain = _kdf1(_C0, ephemeral)
        digest = _hash(_hash(_H0, remote), ephemeral)
        chain, key = _kdf2(chain, self._ephemeral.exchange(remote))
        sealed_static = _seal(static.suite, key, static.public, digest)
        digest = _hash(digest, sealed_static)
        chain, key = _kdf2(chain, static.exchange(remote))
        sealed_time = _seal(static.suite, key, timestamp, digest)
        self._chain = chain
        self._hash = _hash(digest, sealed_time)
        self.message = (
            messages.INITIATION_HEAD.pack(messages.INITIATION, index) + ephemeral + sealed_static + sealed_time
        )

    def finish(self, response: bytes, psk: bytes = NO_PSK) -> TransportKeys:
        """Return the keys, from a response of 92 bytes; MalformedMessage: it is not the answer to this initiation."""
        _, remote_index, local_index = messages.RESPONSE_HEAD.unpack_from(response)
        if local_index != self._index:
            raise MalformedMessage("a response to another initiation")
        ephemeral, sealed_nothing = response[12:44], response[44:60]
        chain = _kdf1(self._chain, ephemeral)
        digest = _hash(self._hash, ephemeral)
        chain = _kdf1(chain, self._ephemeral.exchange(ephemeral))
        chain = _kdf1(chain, self._static.exchange(ephemeral))
        chain, tau, key = _kdf3(chain, psk)
        suite = self._static.suite
        _open(suite, key, sealed_nothing, _hash(digest, tau))
        send, receive = _kdf2(chain, b"")
        return TransportKeys(send, receive, local_index, remote_index, initiator=True, suite=suite)


@dataclass(frozen=True)
class ReceivedInitiation:
    """An initiation that authenticated: who sent it, and what is needed to answer."""

    remote: bytes
    remote_index: int
    ephemeral: bytes
    timestamp: bytes
    chain: bytes
    digest: bytes
    suite: Suite = REAL


def read_initiation(static: StaticKey, message: bytes) -> ReceivedInitiation:
    """Read an initiation of 148 bytes addressed to `static`; MalformedMessage when it does not authenticate."""
    _, remote_index = messages.INITIATION_HEAD.unpack_from(message)
    ephemeral, sealed_static, sealed_time = message[8:40], message[40:88], message[88:116]
    chain = _kdf1(_C0, ephemeral)
    digest = _hash(_hash(_H0, static.public), ephemeral)
    chain, key = _kdf2(chain, static.exchange(ephemeral))
    remote = _open(static.suite, key, sealed_static, digest)
    digest = _hash(digest, sealed_static)
    chain, key = _kdf2(chain, static.exchange(remote))
    timestamp = _open(static.suite, key, sealed_time, digest)
    return ReceivedInitiation(
        remote, remote_index, ephemeral, timestamp, chain, _hash(digest, sealed_time), static.suite
    )


def respond(received: ReceivedInitiation, index: int, rng: Rng, psk: bytes = NO_PSK) -> tuple[bytes, TransportKeys]:
    """Return the response (60 bytes, MACs still missing) and the keys of the responder."""
    suite = received.suite
    own = suite.static(rng(32))
    chain = _kdf1(received.chain, own.public)
    digest = _hash(received.digest, own.public)
    chain = _kdf1(chain, own.exchange(received.ephemeral))
    chain = _kdf1(chain, own.exchange(received.remote))
    chain, tau, key = _kdf3(chain, psk)
    sealed_nothing = _seal(suite, key, b"", _hash(digest, tau))
    receive, send = _kdf2(chain, b"")
    head = messages.RESPONSE_HEAD.pack(messages.RESPONSE, index, received.remote_index)
    keys = TransportKeys(send, receive, index, received.remote_index, initiator=False, suite=suite)
    return head + own.public + sealed_nothing, keys
