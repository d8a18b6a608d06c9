"""What a node has to send and to say, and when it wants to be looked at again: what all its parts write to."""

from __future__ import annotations

from overlays.refmesh.core.check import Path
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.core.schedule import Schedule
from overlays.refmesh.wire import messages
from overlays.refmesh.wire.control import Endpoint


class Outbox:
    """Whoever drives the node empties the lists; they stay the same objects."""

    def __init__(self) -> None:
        self.main: list[tuple[bytes, Endpoint]] = []
        """Datagrams for the main socket, or a stream."""
        self.fresh: list[tuple[int, bytes, Endpoint]] = []
        """Datagrams for other sockets, by number; the driver opens them as they come up."""
        self.probes: list[tuple[int, bytes, Endpoint]] = []
        """Datagrams that must arrive whole or not at all: neither routers nor the kernel may cut them."""
        self.events: list[str] = []
        self.deadline = 0.0
        self.schedule: Schedule[Peer] = Schedule()
        """When each peer is to be looked at."""

    def send(self, path: Path, message: bytes) -> None:
        """Send a message on a path."""
        head = messages.RELAY_HEAD.pack(messages.RELAY, path.relay) if path.relay else b""
        if path.local:
            self.fresh.append((path.local, message, path.endpoint))
        else:
            self.main.append((head + message, path.endpoint))

    def send_sealed(self, peer: Peer, payload: bytes, path: Path, now: float) -> None:
        """Send a control frame on a path, unless there are no keys."""
        if peer.session.usable(now):
            for message in peer.session.sealed([payload], now, hopeful=path == peer.path) or ():
                self.send(path, message)

    def send_fresh(self, local: int, datagram: bytes, endpoint: Endpoint) -> None:
        """Send from a socket by its number."""
        self.fresh.append((local, datagram, endpoint))

    def due(self, peer: Peer, at: float) -> None:
        """Have the peer looked at again at that time, or before."""
        peer.schedule.sooner(peer, at)
        self.wake(at)

    def wake(self, at: float) -> None:
        """Have the node looked at again at that time, or before."""
        self.deadline = min(self.deadline, at)
