"""The short way of one small packet to a peer with which all is well: no question is asked twice.

After a pause the caches of a processor are cold, and each function and object that a packet touches is fetched from
memory anew: then the general way costs some 70 us where it costs 5 us in a transfer (measured). So what stays the same
is found once and kept; a lane that is no longer right says so, and the general way finds a new one.
"""

from __future__ import annotations

import struct

from cryptography.exceptions import InvalidTag

from overlays.refmesh.core.connectivity import SILENCE_S
from overlays.refmesh.core.keypair import REKEY_AFTER_S, Keypair
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.core.routes import Routes
from overlays.refmesh.wire import messages

_COUNTER = struct.Struct("<Q")
_FOUR_ZEROS = bytes(4)
IPV4 = 0x45
"""First octet of an IPv4 packet without options."""
_PADS = [bytes(length) for length in range(16)]


class Inlet:
    """From one peer, under one keypair, to our host."""

    __slots__ = ("_access", "_decrypt", "_keypair", "_peer", "_routes", "_version")

    def __init__(self, peer: Peer, keypair: Keypair, routes: Routes) -> None:
        self._peer, self._keypair, self._access = peer, keypair, peer.access
        self._routes, self._version = routes, routes.version
        self._decrypt = keypair.decrypt

    @staticmethod
    def possible(peer: Peer) -> bool:
        """Whether packets from a peer need no look at their ports."""
        return not peer.any_source and (peer.access is None or peer.access.open)

    def right(self, now: float) -> bool:
        """Whether nothing has changed, and the keys are not so old that somebody should think of new ones."""
        peer, keypair = self._peer, self._keypair
        return (
            peer.session.current is keypair
            and peer.path is not None
            and peer.access is self._access
            and self._routes.version == self._version
            and now < keypair.born_s + REKEY_AFTER_S
        )

    def open(self, datagram: bytes, now: float) -> bytes | None:
        """The next IPv4 packet of the peer, when it authenticates and bears an address of the peer.

        None, and nothing has happened, when it is anything else: the general way knows what to do.
        """
        peer, keypair = self._peer, self._keypair
        number = datagram[8:16]
        if not keypair.window.follows(_COUNTER.unpack(number)[0]):
            return None
        try:
            payload = self._decrypt(_FOUR_ZEROS + number, datagram[16:], None)
        except InvalidTag:
            return None
        if len(payload) < 20 or payload[0] != IPV4 or payload[12:16] not in peer.sources:
            return None
        length = payload[2] << 8 | payload[3]
        if not 20 <= length <= len(payload):
            return None
        keypair.window.advance()
        peer.session.received(keypair, True, now)
        peer.rx_bytes += length
        return payload if length == len(payload) else payload[:length]


class Lane:
    """From our host to one inner address."""

    __slots__ = ("_access", "_encrypt", "_head", "_keypair", "_peer", "_routes", "_version", "path")

    def __init__(self, peer: Peer, routes: Routes) -> None:
        """The peer must have a session and a path."""
        keypair, path = peer.session.current, peer.path
        assert keypair is not None
        assert path is not None
        self._peer, self._keypair, self.path = peer, keypair, path
        self._access = peer.access
        self._routes, self._version = routes, routes.version
        self._encrypt = keypair.encrypt
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

    def seal(self, packet: bytes, now: float) -> bytes | None:
        """The datagram for `path`; None when the general way must be gone: something has changed or is to be done."""
        peer, keypair = self._peer, self._keypair
        session = peer.session
        if (
            session.current is not keypair
            or peer.path is not self.path
            or peer.access is not self._access
            or self._routes.version != self._version
            or now >= keypair.fresh_until_s
            or now - session.last_received_s > SILENCE_S
        ):
            return None
        counter = keypair.counter
        keypair.counter = counter + 1
        number = _COUNTER.pack(counter)
        octets = len(packet)
        session.note_sent(now)
        peer.tx_bytes += octets
        peer.data_sent_s = now
        return self._head + number + self._encrypt(_FOUR_ZEROS + number, packet + _PADS[-octets & 15], None)
