"""Keeps what goes to each peer within what its path carries: probes, limits, and what our host is told of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from overlays.refmesh.core import packets, too_big
from overlays.refmesh.core.check import Path
from overlays.refmesh.core.dataplane import DataPlane
from overlays.refmesh.core.keypair import Keypair
from overlays.refmesh.core.outbox import Outbox
from overlays.refmesh.core.path_mtu import BASE, OVERHEAD, PathMtu, largest
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.core.switch import HEADER_LEN
from overlays.refmesh.keys import Rng
from overlays.refmesh.wire import control, messages
from overlays.refmesh.wire.control import Endpoint

LARGE = BASE - OVERHEAD - messages.RELAY_HEAD.size
"""Packets of up to so many octets pass everywhere; who sends no others needs no probe."""
TELL_AGAIN_S = 0.1
MAX_PATHS, MAX_PROBES_OUT = 32, 16
_MESSAGE = messages.TRANSPORT_HEADER_LEN + messages.TAG_LEN
_PING_HEAD = 4 + control.TRANSACTION_LEN
_SMALLEST = _MESSAGE + _PING_HEAD + messages.RELAY_HEAD.size
_FRAME_HEAD = 4 + HEADER_LEN


class Probing:
    """The path MTUs of one node."""

    def __init__(self, plane: DataPlane, outbox: Outbox, rng: Rng, *, mtu: int, flags: int) -> None:
        """`mtu`: of our device, in octets; `flags`: what our PINGs say."""
        self._plane, self._outbox, self._rng, self._flags = plane, outbox, rng, flags
        self._largest = largest(mtu)

    def large_sent(self, peer: Peer, now: float) -> None:
        """Note that a packet of more than `LARGE` octets goes to a peer."""
        state = self._of(peer)
        if state is not None and state.due_s > now:
            state.used(now)
            if state.due_s <= now:
                self._outbox.due(peer, now)

    def refused(self, peers: Iterable[Peer], endpoint: Endpoint, allowed: int, now: float) -> None:
        """Note that the kernel sends no datagrams of more than `allowed` octets to an endpoint."""
        for peer in peers:
            if peer.path is not None and peer.path.endpoint == endpoint:
                state = self._of(peer)
                if state is not None:
                    state.refused(allowed, now)
                    self._set_limit(peer, state)
                    self._outbox.due(peer, now)

    def tick(self, peer: Peer, now: float) -> float:
        """Send the probe that is due; return when the next one is."""
        state = peer.mtus.get(peer.path) if peer.path is not None else None
        keypair = peer.session.current
        if state is None or keypair is None or not keypair.usable(now) or peer.path is None:
            return math.inf
        check = peer.finder.checks.get(peer.path) if peer.finder is not None else None
        rtt_s = check.rtt_s if check is not None else peer.session.rtt_s or math.inf
        size = state.probe(now, peer.session.last_received_s, rtt_s)
        self._set_limit(peer, state)
        if size is not None and self._asks(peer):
            self._send(peer, peer.path, keypair, state, size)
            if state.in_doubt:
                self._send(peer, peer.path, keypair, state, _SMALLEST)
        return state.due_s

    def on_pong(self, peer: Peer, transaction: bytes, now: float) -> bool:
        """Take the answer to a probe; False when it is to something else."""
        state, size = peer.probes.pop(transaction, (None, 0))
        if state is None:
            return False
        if size > _SMALLEST:
            state.answered(size, now)
        if peer.path is not None and peer.mtus.get(peer.path) is state:
            self._set_limit(peer, state)
            self._outbox.due(peer, state.due_s)
        return True

    def fitted(self, peer: Peer, batch: Sequence[bytes]) -> list[bytes]:
        """Return those of the packets (or frames of layer 2) that the path carries; the host is told of the others.

        What makes no sense is lost: neither can it be cut, nor is there anybody to tell.
        """
        limit, fitting = peer.limit, []
        for packet in batch:
            if not packet[0] >> 4:
                frame = packet[4:]
                if len(frame) <= limit - 4 or not self._tell_frame(frame, limit - _FRAME_HEAD):
                    fitting.append(packet)
            elif len(packet) <= limit or too_big.carried_anyhow(packet):
                fitting.append(packet)
            elif packets.trim(packet) != packet:
                continue
            elif too_big.may_be_cut(packet):
                fitting += too_big.fragments(packet, limit)
            else:
                self._tell(packet, limit)
        return fitting

    def segment(self, peer: Peer, packet: memoryview, data: int, size: int, now: float) -> int:
        """How many octets of data each segment of a large TCP packet shall have, whose headers have `data` octets."""
        if data + size <= peer.limit:
            return size
        if now - peer.told_s > TELL_AGAIN_S:
            # Cutting it smaller does for now; the host's TCP does better to know.
            peer.told_s = now
            self._tell(bytes(packet[: data + size]), peer.limit)
        return max(peer.limit - data, 1)

    def _send(self, peer: Peer, path: Path, keypair: Keypair, state: PathMtu, size: int) -> None:
        transaction = self._rng(control.TRANSACTION_LEN)
        filling = bytes(size - len(peer.prefix) - _MESSAGE - _PING_HEAD)
        peer.probes[transaction] = (state, size)
        while len(peer.probes) > MAX_PROBES_OUT:
            del peer.probes[next(iter(peer.probes))]
        frame = control.frame(control.PING, transaction + filling, self._flags)
        self._outbox.probes.append((path.local, peer.prefix + keypair.seal_bare(frame), path.endpoint))

    def _tell(self, packet: bytes, limit: int) -> None:
        answer = too_big.too_big(packet, limit)
        if answer is not None:
            self._plane.to_tun.append(answer)

    def _tell_frame(self, frame: bytes, limit: int) -> bool:
        packet, kind = packets.trim(frame[HEADER_LEN:]), frame[12:14]
        if frame[0] & 1 or kind not in (b"\x08\x00", b"\x86\xdd") or not packet or too_big.may_be_cut(packet):
            return False  # it goes out as it is, and the kernel cuts it
        if too_big.carried_anyhow(packet):
            return False
        answer = too_big.too_big(packet, limit)
        if answer is not None:
            self._plane.to_tun.append(frame[6:12] + frame[:6] + kind + answer)
        return True

    @staticmethod
    def _asks(peer: Peer) -> bool:
        """Whether a peer understands a probe: a plain WireGuard peer does not."""
        return peer.finder is not None or peer.any_source

    def _of(self, peer: Peer) -> PathMtu | None:
        path = peer.path
        if path is None or path.endpoint[0] == "tls":
            return None
        state = peer.mtus.get(path)
        if state is None:
            while len(peer.mtus) >= MAX_PATHS:
                del peer.mtus[next(iter(peer.mtus))]
            state = peer.mtus[path] = PathMtu(self._largest + len(peer.prefix))
        return state

    @staticmethod
    def _set_limit(peer: Peer, state: PathMtu) -> None:
        peer.limit = state.limit(len(peer.prefix))
