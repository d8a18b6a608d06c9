"""The introduction: a certificate, sealed for one reader, sent just before a handshake with somebody who knows us not.

Layout: type 5, three zero bytes, ephemeral 32, sealed certificate n+16, mac1 16, mac2 16. It is never answered, so it
tells nothing to who does not hold the authority's signature; repeating a recorded one changes nothing. A busy reader
wants mac2, by the cookie that it gives for the handshake initiation which follows.
"""

from __future__ import annotations

from hashlib import blake2s

from cryptography.exceptions import InvalidTag

from overlays.refmesh.core.cookie import Macs
from overlays.refmesh.core.noise import REAL, StaticKey, Suite
from overlays.refmesh.errors import MalformedMessage
from overlays.refmesh.keys import Rng
from overlays.refmesh.wire import messages

_HEAD_LEN = messages.HEADER.size + 32
MIN_LEN = _HEAD_LEN + messages.TAG_LEN + 2 * messages.MAC_LEN
MAX_LEN = MIN_LEN + 4096


def _key(secret: bytes, ephemeral: bytes, reader: bytes) -> bytes:
    return blake2s(b"refmesh introduction" + ephemeral + reader, key=secret).digest()


def write(certificate: str, reader: bytes, macs: Macs, rng: Rng, now: float, *, suite: Suite = REAL) -> bytes:
    """Return an introduction that only the owner of the public key `reader` can open; `macs` are those for him."""
    ephemeral = suite.static(rng(32))
    head = messages.HEADER.pack(messages.INTRODUCTION) + ephemeral.public
    cipher = suite.aead(_key(ephemeral.exchange(reader), ephemeral.public, reader))
    message = head + cipher.encrypt(bytes(12), certificate.encode(), head)
    message += macs.first(message)
    return message + macs.proof(message, now)


def read(message: bytes, static: StaticKey) -> str:
    """Return the certificate's text, not yet verified, of a message with a valid mac1; MalformedMessage: not for us."""
    head = message[:_HEAD_LEN]
    ephemeral = head[messages.HEADER.size :]
    cipher = static.suite.aead(_key(static.exchange(ephemeral), ephemeral, static.public))
    try:
        return cipher.decrypt(bytes(12), message[_HEAD_LEN : -2 * messages.MAC_LEN], head).decode("ascii")
    except (InvalidTag, UnicodeDecodeError):
        raise MalformedMessage("an introduction that does not authenticate") from None
