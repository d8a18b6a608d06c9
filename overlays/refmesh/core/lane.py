"""The short way of one small packet to a peer with which all is well: no question is asked twice.

After a pause the caches of a processor are cold, and each function and object that a packet touches is fetched from
memory again: then the general way costs some 70 us where it costs 5 us in a transfer (measured). So what stays the same
is found once and kept, a packet is decided about in one function, and what need not be known for that is noted after
it has been handed on (`note`). A lane that is no longer right says so, and the general way finds a new one.
"""

from __future__ import annotations

import struct

from cryptography.exceptions import InvalidTag

from overlays.refmesh.core.connectivity import SILENCE_S
from overlays.refmesh.core.keypair import REKEY_AFTER_S, Keypair
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.core.routes import Routes
from overlays.refmesh.wire import messages
from overlays.refmesh.wire.control import Endpoint

HEAD_LEN = messages.TRANSPORT_HEADER_LEN
IPV4 = 0x45
"""First octet of an IPv4 packet without options."""
PADS = tuple(bytes(length) for length in range(16))
"""Zeros by their number."""
_NONCE = struct.Struct("<4xQ")
_INNER = struct.Struct(">BxH8x4s")
"""First octet, total length and source of an IPv4 packet."""
_MIN_LEN = 20


class Inlet:
    """From one peer, under one keypair, to our host."""

    __slots__ = ("_access", "_decrypt", "_keypair", "_routes", "_session", "_until_s", "_version", "_window", "peer")

    def __init__(self, peer: Peer, keypair: Keypair, routes: Routes) -> None:
        self.peer, self._session, self._keypair, self._access = peer, peer.session, keypair, peer.access
        self._routes, self._version = routes, routes.version
        self._decrypt, self._window = keypair.decrypt, keypair.window
        self._until_s = keypair.born_s + REKEY_AFTER_S

    @staticmethod
    def possible(peer: Peer) -> bool:
        """Whether packets from a peer need no look at their ports."""
        return not peer.any_source and (peer.access is None or peer.access.open)

    def open(self, counter: int, sealed: bytes | memoryview, now: float) -> bytes | None:
        """Open the next IPv4 packet of the peer, if it authenticates and has an address of the peer; then call `note`.

        None, and nothing has happened, when it is anything else, when anything has changed, or when the keys are so old
        that somebody should think of new ones: the general way knows what to do. `sealed` comes after the counter.
        """
        peer, window = self.peer, self._window
        if (
            counter != window.highest + 1
            or self._session.current is not self._keypair
            or peer.path is None
            or peer.access is not self._access
            or self._routes.version != self._version
            or now >= self._until_s
        ):
            return None
        try:
            payload = self._decrypt(_NONCE.pack(counter), sealed, None)
        except InvalidTag:
            return None
        octets = len(payload)
        if octets < _MIN_LEN:
            return None
        version, length, source = _INNER.unpack_from(payload)
        if version != IPV4 or source not in peer.sources or not _MIN_LEN <= length <= octets:
            return None
        # After authentication, so that a forgery cannot use up a counter.
        window.highest = counter
        return payload if length == octets else payload[:length]

    def from_path(self, source: Endpoint) -> bool:
        """Whether this is where we send to the peer, directly."""
        path = self.peer.path
        return path is not None and path.endpoint == source

    def note(self, octets: int, now: float) -> None:
        """Note a packet that was opened."""
        self._session.heard(now)
        self.peer.rx_bytes += octets


class Lane:
    """From our host to one inner address."""

    __slots__ = (
        "_access",
        "_encrypt",
        "_fresh_until_s",
        "_head",
        "_keypair",
        "_peer",
        "_routes",
        "_session",
        "_version",
        "path",
    )

    def __init__(self, peer: Peer, routes: Routes) -> None:
        """Make a lane to a peer that has a session and a path."""
        keypair, path = peer.session.current, peer.path
        assert keypair is not None
        assert path is not None
        self._peer, self._session, self._keypair, self.path = peer, peer.session, keypair, path
        self._access = peer.access
        self._routes, self._version = routes, routes.version
        self._encrypt, self._fresh_until_s = keypair.encrypt, keypair.fresh_until_s
        self._head = peer.prefix + messages.INDEXED_HEAD.pack(messages.TRANSPORT, keypair.remote_index)

    @staticmethod
    def possible(peer: Peer) -> bool:
        """Whether packets to a peer need no look at each, and one socket takes them."""
        path = peer.path
        open_ = peer.access is None or peer.access.open
        return (
            open_ and not peer.any_source and peer.session.current is not None
            and path is not None and not path.local and path.endpoint[0] != "tls"
        )  # fmt: skip

    def seal(self, padded: bytes | memoryview, now: float) -> bytes | None:
        """Return the datagram for `path`, of a packet with its padding to a multiple of 16 octets; then call `note`.

        None when the general way must be gone: something has changed or is to be done.
        """
        peer, session, keypair = self._peer, self._session, self._keypair
        if (
            session.current is not keypair
            or peer.path is not self.path
            or peer.access is not self._access
            or self._routes.version != self._version
            or now >= self._fresh_until_s
            or now - session.last_received_s > SILENCE_S
            or len(padded) > peer.limit
        ):
            return None
        counter = keypair.counter
        keypair.counter = counter + 1
        nonce = _NONCE.pack(counter)
        return self._head + nonce[4:] + self._encrypt(nonce, padded, None)

    def note(self, octets: int, now: float) -> None:
        """Note that a packet of so many octets, without the padding, has been sent."""
        self._session.note_sent(now)
        peer = self._peer
        peer.tx_bytes += octets
        peer.data_sent_s = now
