"""One generation of session keys: seals and opens transport messages (WireGuard paper, section 5.4.6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2s

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from overlays.refmesh.core.noise import TransportKeys
from overlays.refmesh.core.replay import ReplayWindow
from overlays.refmesh.wire import messages

REJECT_AFTER_MESSAGES = (1 << 64) - (1 << 13) - 1
REKEY_AFTER_MESSAGES = 1 << 60
REKEY_AFTER_S = 120.0
REJECT_AFTER_S = 180.0
_PADS = [bytes(length) for length in range(16)]
_FOUR_ZEROS = bytes(4)


class Keypair:
    """Keys, send counter and replay window of one handshake; useless after 180 s."""

    __slots__ = (
        "_bulk",
        "born_s",
        "counter",
        "decrypt",
        "decrypt_into",
        "encrypt",
        "encrypt_into",
        "fresh_until_s",
        "initiator",
        "keys",
        "local_index",
        "place",
        "remote_index",
        "window",
    )

    def __init__(self, keys: TransportKeys, now: float) -> None:
        self.keys = keys
        send, receive = keys.suite.aead(keys.send), keys.suite.aead(keys.receive)
        self.encrypt, self.decrypt = send.encrypt, receive.decrypt
        self.encrypt_into, self.decrypt_into = send.encrypt_into, receive.decrypt_into
        self.born_s = now
        self.counter = 0
        self.window = ReplayWindow()
        self.initiator = keys.initiator
        self.local_index = keys.local_index
        self.remote_index = keys.remote_index
        self.fresh_until_s = now + (REKEY_AFTER_S if keys.initiator else REJECT_AFTER_S)
        """Until then it can be used without asking for new keys."""
        self.place: object = None
        """The only way that what made these keys went: who uses them has received there. None: it went several ways."""
        self._bulk: tuple[AESGCM, AESGCM] | None = None

    @property
    def bulk(self) -> tuple[AESGCM, AESGCM]:
        """What seals and what opens chunks of the bulk framing."""
        if self._bulk is None:
            send, receive = (
                AESGCM(blake2s(b"refmesh bulk", key=key).digest()) for key in (self.keys.send, self.keys.receive)
            )
            self._bulk = send, receive
        return self._bulk

    def usable(self, now: float) -> bool:
        """Whether it may still be used, for sending or receiving."""
        return now - self.born_s < REJECT_AFTER_S and self.counter < REJECT_AFTER_MESSAGES

    def stale(self, now: float) -> bool:
        """Whether it is time for a new handshake."""
        return now - self.born_s >= REKEY_AFTER_S or self.counter >= REKEY_AFTER_MESSAGES

    def seal(self, payload: bytes) -> bytes:
        """One transport message."""
        return self.seal_many((payload,))[0]

    def seal_bare(self, payload: bytes) -> bytes:
        """One transport message without padding, for a probe whose length matters."""
        head = messages.TRANSPORT_HEAD.pack(messages.TRANSPORT, self.remote_index, self.counter)
        self.counter += 1
        return head + self.encrypt(_FOUR_ZEROS + head[8:], payload, None)

    def seal_many(self, payloads: Sequence[bytes]) -> list[bytes]:
        """Return a transport message for each payload, padded with zeros to a multiple of 16 bytes."""
        counter = self.counter
        self.counter = counter + len(payloads)
        encrypt, pack, index = self.encrypt, messages.TRANSPORT_HEAD.pack, self.remote_index
        sealed = []
        for payload in payloads:
            head = pack(messages.TRANSPORT, index, counter)
            counter += 1
            padding = -len(payload) & 15
            plain = payload + _PADS[padding] if padding else payload
            sealed.append(head + encrypt(_FOUR_ZEROS + head[8:], plain, None))
        return sealed

    def open(self, datagram: bytes | memoryview) -> bytes | None:
        """Return the payload of a message, with its padding; None when it does not authenticate or is not fresh."""
        if len(datagram) < messages.TRANSPORT_MIN_LEN:
            return None
        counter = messages.TRANSPORT_HEAD.unpack_from(datagram)[2]
        if counter >= REJECT_AFTER_MESSAGES or not self.window.fresh(counter):
            return None
        try:
            payload = self.decrypt(_FOUR_ZEROS + datagram[8:16], datagram[16:], None)
        except InvalidTag:
            return None
        self.window.accept(counter)
        return payload

    def open_many(self, datagrams: Iterable[bytes | memoryview]) -> list[bytes]:
        """Return the payloads of those messages that authenticate and are fresh; drops the others."""
        return [payload for payload in map(self.open, datagrams) if payload is not None]
