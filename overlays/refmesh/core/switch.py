"""A learning switch for layer 2 networks: which peer has a MAC address (IEEE 802.1D, section 7)."""

from __future__ import annotations

from overlays.refmesh.core.peer import Peer

AGEING_S = 300.0
MAX_ADDRESSES = 8192
HEADER_LEN = 14


class Switch:
    """Learns from what comes from peers; says where a frame of ours goes."""

    def __init__(self) -> None:
        self._table: dict[bytes, tuple[Peer, float]] = {}

    def learn(self, frame: bytes, peer: Peer, now: float) -> bool:
        """Notes the sender of a frame that came from a peer; False for what is no frame."""
        if len(frame) < HEADER_LEN:
            return False
        source = frame[6:12]
        if source[0] & 1:
            return False  # a group address cannot be a source
        if source in self._table or len(self._table) < MAX_ADDRESSES:
            self._table[source] = (peer, now + AGEING_S)
        return True

    def find(self, frame: bytes, now: float) -> Peer | None:
        """The one peer for a frame of ours; None: all of them, as for broadcast, multicast and unknown addresses."""
        destination = frame[:6]
        if destination[0] & 1:
            return None
        peer, until = self._table.get(destination, (None, 0.0))
        if peer is not None and until <= now:
            del self._table[destination]
            return None
        return peer

    def forget(self, peer: Peer) -> None:
        """The peer is gone."""
        self._table = {source: entry for source, entry in self._table.items() if entry[0] is not peer}
