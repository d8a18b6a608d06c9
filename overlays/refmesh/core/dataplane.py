"""Between tunnels and the TUN or TAP device: who may send what to whom, and which peer gets it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from overlays.refmesh.core import bulk, packets
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.core.routes import Routes
from overlays.refmesh.core.switch import HEADER_LEN, Switch


class DataPlane:
    """Routes, rules and frames of one node. What arrives for the host is in `to_tun` and `large`."""

    def __init__(self, *, hub: bool, own: Collection[bytes] = (), layer_2: bool = False) -> None:
        """`hub`: servers end our tunnels. Otherwise nothing that a server sends can reach the device.

        `own`: our overlay addresses, packed. `layer_2`: the device takes frames; an IP packet would pass for one that
        the switch has not looked at.
        """
        self.layer_2 = layer_2
        self.routes = Routes()
        self.switch: Switch[Peer] = Switch(lambda packed: self if packed in own else self.routes.owner(packed))
        self.to_tun: list[bytes] = []
        self.large: list[list[bytes | memoryview]] = []
        """Large packets, each as buffers that begin with their virtio_net_hdr."""
        self._hub = hub
        self._refused: set[bytes] = set()
        """Addresses of members that were revoked: a hub that has not heard of it may still pass on what they send."""

    def packets_in(self, peer: Peer, payloads: Sequence[bytes], now: float) -> None:
        """Decrypted IP packets of a peer, still padded."""
        for payload in () if self.layer_2 else payloads:
            packet = packets.trim(payload)
            if packet and self._admits(peer, packet, now):
                peer.rx_bytes += len(packet)
                self.to_tun.append(packet)

    def large_in(self, peer: Peer, plains: Sequence[bytes], now: float) -> None:
        """Take opened chunks of a peer."""
        for rebuilt in bulk.rebuild(plains):
            self.rebuilt_in(peer, rebuilt, now)

    def rebuilt_in(self, peer: Peer, rebuilt: bulk.Rebuilt, now: float) -> None:
        """Take a large packet of a peer, rebuilt; all its segments have the header that the rules look at."""
        if not self.layer_2 and self._admits(peer, rebuilt.header, now):
            peer.rx_bytes += rebuilt.length
            self.large.append(rebuilt.buffers)

    def frame_in(self, peer: Peer, frame: bytes, now: float) -> None:
        """Return an Ethernet frame of a peer."""
        if peer.any_source and not self._hub:
            return
        if peer.any_source:
            if len(frame) < HEADER_LEN or frame[6] & 1:
                return
            # All frames come from the hub, which has looked at their senders.
            peer.rx_bytes += len(frame)
            self.to_tun.append(frame)
            return
        if _open(peer) and self.switch.learn(frame, peer, now):
            peer.rx_bytes += len(frame)
            self.to_tun.append(frame)

    def frame_targets(self, frame: bytes, peers: Iterable[Peer], hub: Peer | None, now: float) -> list[Peer]:
        """Who gets a frame of ours: the hub, or the one who has its destination, or all."""
        if len(frame) < HEADER_LEN:
            return []
        self.switch.learn_own(frame, now)
        if self._hub:
            return [hub] if hub is not None else []
        known = self.switch.find(frame, now)
        return [peer for peer in ([known] if known is not None else peers) if _open(peer)]

    def may_go(self, peer: Peer, packet: bytes, now: float) -> bool:
        """Whether a packet of ours may go to a peer, or through it when it is a hub."""
        access = peer.access
        if peer.any_source:
            owner = self.routes.owner(packets.destination_bytes(packet))
            access = owner.access if owner is not None else None
        return access is None or access.open or access.outbound(packet, now)

    def refuse(self, peer: Peer) -> None:
        """Note that nothing is to come from the peer's addresses any more, unless another member gets them."""
        self._refused.update(peer.sources)

    def forget(self, peer: Peer) -> None:
        """Note that the peer is gone."""
        self.routes.remove(peer)
        self.switch.forget(peer)

    def _admits(self, peer: Peer, packet: bytes, now: float) -> bool:
        if not peer.any_source:
            return peer.admits(packet, now)
        if not self._hub:
            return False  # a coordination server has no business with packets
        # Through a hub: the packet is from the member whose address it bears, so far as the hub can be believed; from
        # the hub's own host, where it is nobody's.
        source = packets.source_bytes(packet)
        owner = self.routes.owner(source)
        return source not in self._refused if owner is None else owner.admits(packet, now)


def _open(peer: Peer) -> bool:
    # Rules speak of IP and a frame may be anything, so only members between whom all is allowed exchange frames.
    return peer.access is None or peer.access.open
