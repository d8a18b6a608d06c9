"""Two nodes with their drivers, joined in memory: devices that look at what they are given, sockets that join runs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from refmesh_inner import BAD_SUM_PORTS, GOOD_PORTS, pattern

from overlays.refmesh import credentials
from overlays.refmesh.core import offload, packets
from overlays.refmesh.core.node import Node
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.driver.datapath import Datapath
from overlays.refmesh.network import Site, make_network
from overlays.refmesh.simulation.world import UNIX_S, World
from overlays.refmesh.wire.control import Endpoint

ENDPOINTS: dict[str, Endpoint] = {"a": ("45.0.0.1", 40000), "b": ("45.0.1.1", 40000)}
RULES = [{"from": "*", "to": "*", "protocol": protocol, "ports": "1-1000"} for protocol in ("tcp", "udp")]
OPEN = [{"from": "*", "to": "*"}]
MAX_SOURCES = 65507


class Device:
    """A TUN or TAP device in memory; `wrong` says what it should not have been given."""

    def __init__(self, sources: set[bytes], *, layer_2: bool) -> None:
        self.file = self
        self.waiting: list[bytes] = []
        self.packets: list[bytes] = []
        self.octets = 0
        self.wrong: str | None = None
        self._sources, self._layer_2 = sources, layer_2

    def readinto(self, buffer: bytearray) -> int | None:
        if not self.waiting:
            return None
        data = self.waiting.pop(0)
        buffer[: len(data)] = data
        return len(data)

    def write(self, buffers: Sequence[bytes | memoryview] | bytes) -> None:
        data = buffers if isinstance(buffers, bytes) else b"".join(buffers)
        if self._layer_2:
            if len(data) < 24 or data[:10] != offload.PLAIN_HEADER:
                self.wrong = f"the device was given {data[:60].hex()}"
            return
        self.wrong = self.wrong or self._look(data[:10], data[10:])

    def refuse(self, error: OSError, _: Sequence[int]) -> None:
        raise error

    def _look(self, header: bytes, packet: bytes) -> str | None:
        flags, gso, hdr_len, size, start, offset = offload.HEADER.unpack(header)
        said = f"{header.hex()} {packet[:80].hex()}, {len(packet)} octets"
        if packets.trim(packet) != packet or packets.source_bytes(packet) not in self._sources:
            return f"no whole packet, or not the peer's: {said}"
        if flags not in (0, offload.NEEDS_CSUM) or (flags and start + offset + 2 > len(packet)):
            return f"a checksum outside of the packet: {said}"
        if gso:
            tcp = 20 if gso == offload.GSO_TCPV4 else 40
            data = tcp + (packet[tcp + 12] >> 4) * 4
            version = 4 if tcp == 20 else 6
            right = start == tcp and data >= tcp + 20 and data == hdr_len and packet[0] >> 4 == version
            if gso not in (1, 4) or not flags or not right or not 0 < size < len(packet) - data:
                return f"a large packet that the kernel cannot cut: {said}"
        fragment = packet[0] >> 4 == 4 and (packet[6] << 8 | packet[7]) & 0x3FFF
        if packet[0] == 0x45 and packet[9] == 6 and len(packet) >= 40 and not fragment:
            return self._look_at_tcp(flags, packet, 20, said)
        if packet[0] >> 4 == 6 and packet[6] == 6 and len(packet) >= 60:
            return self._look_at_tcp(flags, packet, 40, said)
        self.packets.append(packet)
        return None

    def _look_at_tcp(self, flags: int, packet: bytes, tcp: int, said: str) -> str | None:
        port, seq = int.from_bytes(packet[tcp : tcp + 2], "big"), int.from_bytes(packet[tcp + 4 : tcp + 8], "big")
        content = packet[tcp + (packet[tcp + 12] >> 4) * 4 :]
        if port not in GOOD_PORTS and port not in BAD_SUM_PORTS:
            return None
        if content != pattern(port, seq, len(content)):
            return f"other data than was sent: {said}"
        intact = bool(flags) or offload.intact(packet, tcp)
        if intact is (port in BAD_SUM_PORTS):
            return f"a checksum that is {'right' if intact else 'wrong'} and was not: {said}"
        if port in GOOD_PORTS:
            self.octets += len(content)
        return None


class Wire:
    """A socket of a node in memory, main or near: what is sent is kept as runs, each one system call."""

    single = True

    def __init__(self, end: End, endpoint: Endpoint) -> None:
        self.endpoint, self.used_s = endpoint, 0.0
        self.waiting: list[list[bytes]] = []
        self._sent = end.sent

    def send_run(self, datagrams: Sequence[bytes], endpoint: Endpoint) -> None:
        self._sent += [([datagram], endpoint) for datagram in datagrams]

    def send_segmented(self, data: memoryview, size: int, endpoint: Endpoint) -> None:
        whole = bytes(data)
        assert len(whole) <= MAX_SOURCES, "more than one system call sends"
        self._sent.append(([whole[i : i + size] for i in range(0, len(whole), size)], endpoint))

    def send(self, datagram: bytes, endpoint: Endpoint) -> None:
        self._sent.append(([datagram], endpoint))

    def write(self, datagram: bytes) -> int:
        self.send(datagram, self.endpoint)
        return len(datagram)

    def readinto(self, buffer: bytearray) -> int | None:
        if not self.waiting:
            return None
        datagram = self.waiting[0].pop(0)
        if not self.waiting[0]:
            self.waiting.pop(0)
        buffer[: len(datagram)] = datagram
        return len(datagram)

    def receive(self) -> tuple[memoryview, int, Endpoint] | None:
        if not self.waiting:
            return None
        run = self.waiting.pop(0)
        return memoryview(bytearray(b"".join(run))), len(run[0]), self.endpoint

    def settle(self) -> None:
        self.single = True

    def join(self) -> None:
        self.single = False


class Sockets:
    """The sockets of a node in memory."""

    def __init__(self, end: End) -> None:
        self._end = end
        self._near: dict[Endpoint, Wire] = {}

    def find(self, endpoint: Endpoint, local: int) -> Wire | None:
        return Wire(self._end, endpoint) if not local else None

    def near(self, endpoint: Endpoint) -> Wire:
        return self._near.setdefault(endpoint, Wire(self._end, endpoint))

    def known(self, endpoint: Endpoint) -> Wire | None:
        return self._near.get(endpoint)

    def near_is_full(self) -> bool:
        return False

    def close_near(self, unused_since_s: float = 0.0) -> None:
        del unused_since_s
        self._near.clear()

    def flush(self) -> None:
        outbox = self._end.node.outbox
        self._end.sent += [([datagram], to) for datagram, to in outbox.main]
        self._end.sent += [([datagram], to) for local, datagram, to in outbox.probes if not local]
        for full in (outbox.main, outbox.fresh, outbox.probes):
            full.clear()


class End:
    """A node, its device and its sockets."""

    def __init__(self, world: World, name: str, other: str, *, layer_2: bool) -> None:
        self.name, self.node = name, world.nodes[name]
        self.addresses = [packets.packed_host(address) for address in self.node.addresses]
        theirs = {packets.packed_host(address) for address in world.nodes[other].addresses}
        self.device = Device(theirs, layer_2=layer_2)
        self.sent: list[tuple[list[bytes], Endpoint]] = []
        self.sockets = Sockets(self)
        device: Any = self.device
        streams: Any = None
        self.datapath = Datapath(self.node, device, streams)
        sockets: Any = self.sockets
        self.datapath.sockets = sockets

    @property
    def peer(self) -> Peer:
        return next(iter(self.node.peers.by_key.values()))

    @staticmethod
    def peer_path_of(end: End) -> Endpoint:
        path = end.peer.path
        assert path is not None
        return path.endpoint

    def arrive(self, runs: list[list[bytes]], source: Endpoint, rng: random.Random, now: float) -> None:
        near = self.sockets.known(source)
        if near is not None and rng.randrange(2):
            near.waiting += runs
            while near.waiting:
                near_socket: Any = near
                self.datapath.on_near(near_socket, now)
        else:
            wire: Any = Wire(self, source)
            wire.waiting += runs
            while wire.waiting:
                self.datapath.on_udp(wire, 0, now)


def flush(ends: Sequence[End], rng: random.Random, now: float) -> None:
    """Carry what the nodes have sent to each other until there is nothing more."""
    for _ in range(20):
        for end, other in (ends, ends[::-1]):
            node = end.node
            if node.plane.to_tun or node.plane.large:
                end.datapath.write_tun()
            end.sockets.flush()
            node.puncher.closed.clear()
            runs = [run for run, to in end.sent if to == ENDPOINTS[other.name]]
            end.sent.clear()
            if runs:
                other.arrive(joined(runs, rng), ENDPOINTS[end.name], rng, now)
        if not any(end.sent or end.node.outbox.main for end in ends):
            return


def joined(runs: list[list[bytes]], rng: random.Random) -> list[list[bytes]]:
    """Return runs as the kernel may join them: of one size, the last one perhaps shorter, 64 at most."""
    made: list[list[bytes]] = []
    for run in runs:
        last = made[-1] if made else []
        fits = last and len(last[-1]) == len(last[0]) >= len(run[0]) > 0 and len(last) + len(run) <= 60
        if fits and len(run) == 1 and sum(map(len, last)) + len(run[0]) < MAX_SOURCES and rng.randrange(4):
            last += run
        else:
            made.append(list(run))
    return made


def scene_of(seed: int) -> tuple[float, list[End]]:
    """Return now, and two nodes with a direct path: IPv4 and IPv6 inside, rules in every third scene, layer 2 in every
    fifth, WireGuard's framing in every second."""
    layer_2 = seed % 5 == 4
    options = {"layer": "l2"} if layer_2 else {"framing": ("auto", "wireguard")[seed % 2]}
    rng = random.Random(seed)
    prefix = "fd77::/64" if seed % 4 == 2 else "10.77.0.0/16"
    network = make_network(
        ["a", "b"], [Site("s0", "9.9.0.9")], prefix=prefix, rng=rng.randbytes, not_after=int(UNIX_S) + 10**6
    )
    rules = RULES if seed % 3 == 1 else OPEN
    policy = credentials.sign_policy(network.authority_private, 2, rules)
    world = World({"a": None, "b": None}, seed=seed, network=network, policy=policy, options=options)
    world.start_all()
    world.run(3.0)
    assert set(world.paths()) == {"direct"}
    ends = [End(world, name, other, layer_2=layer_2) for name, other in ("ab", "ba")]
    for end in ends:
        end.node.plane.to_tun.clear()
    return world.now, ends


__all__ = ["ENDPOINTS", "Device", "End", "Node", "flush", "scene_of"]
