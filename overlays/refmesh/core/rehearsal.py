"""A lane to oneself: what seals and opens real packets can be run with it, and nothing comes of it.

The two peers exist nowhere else. Their keys are known to everybody, and their packets are never sent.
"""

from __future__ import annotations

import math

from overlays.refmesh.core.check import Path
from overlays.refmesh.core.keypair import Keypair
from overlays.refmesh.core.lane import Inlet, Lane
from overlays.refmesh.core.noise import StaticKey, TransportKeys
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.core.routes import Routes
from overlays.refmesh.core.session import Session

ADDRESS = bytes((192, 0, 2, 1))
"""RFC 5737: of no host."""
PACKET = bytes.fromhex("4500005400000000401100000000") + bytes(70)
PACKET = PACKET[:12] + ADDRESS + ADDRESS + PACKET[20:]
"""An IPv4 packet of 84 octets, as ping sends them."""
_KEYS = bytes(32), bytes(31) + b"\x01"


class Rehearsal:
    """`lane` seals what the only one of `inlets` opens, in order and for ever."""

    def __init__(self) -> None:
        sender, receiver = (_peer(send, receive) for send, receive in (_KEYS, _KEYS[::-1]))
        keypair = receiver.session.current
        assert keypair is not None
        self.lane = Lane(sender, Routes())
        self.inlets = {keypair.local_index: Inlet(receiver, keypair, Routes())}


def _peer(send: bytes, receive: bytes) -> Peer:
    session = Session(StaticKey(send), bytes(32), bytes)
    # Never old, and never silent.
    session.current = Keypair(TransportKeys(send, receive, 1, 1, initiator=True), math.inf)
    session.last_received_s = math.inf
    peer = Peer("rehearsal", session, ["192.0.2.1/32"])
    peer.path = Path(("192.0.2.1", 1))
    return peer
