"""The short way between a device and near sockets: it gives what the general way gives, or leaves it to that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import FileIO

import pytest

from overlays.refmesh.core import offload
from overlays.refmesh.core.access import Access
from overlays.refmesh.core.lane import Inlet, Lane
from overlays.refmesh.driver.shortway import MAX_LANES, ShortWay
from overlays.refmesh.driver.tun import MAX_READ, VNET_HEADER_LEN
from overlays.refmesh.simulation.world import World, ip_packet
from overlays.refmesh.wire.control import Endpoint

PLAIN = bytes(VNET_HEADER_LEN)


class Wire:
    """A near socket whose datagrams a test sees and sets."""

    endpoint: Endpoint = ("198.51.100.2", 7)
    single = True

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.waiting: list[bytes | OSError] = []
        self.refuses: OSError | None = None
        self.full = False

    def readinto(self, buffer: bytearray, /) -> int | None:
        if not self.waiting:
            return None
        datagram = self.waiting.pop(0)
        if isinstance(datagram, OSError):
            raise datagram
        buffer[: len(datagram)] = datagram
        return len(datagram)

    def write(self, datagram: bytes, /) -> int | None:
        if self.refuses is not None:
            raise self.refuses
        if self.full:
            return None
        self.sent.append(datagram)
        return len(datagram)

    def send(self, datagram: bytes, endpoint: Endpoint) -> None:
        assert endpoint == self.endpoint
        self.sent.append(b"again " + datagram)


class End:
    """One node's short way to the other."""

    def __init__(self, world: World, name: str, wire: Wire, device: FileIO) -> None:
        self.world, self.node, self.wire = world, world.nodes[name], wire
        self.peer = next(iter(self.node.peers.by_key.values()))
        self.general: list[bytes] = []
        self.buffer = bytearray(MAX_READ)
        self.short = ShortWay(
            device, self.buffer, self.node.ingress.inlets, lambda datagram, _source, _now: self.general.append(datagram)
        )
        keypair = self.peer.session.current
        assert keypair is not None
        self.node.ingress.inlets[keypair.local_index] = Inlet(self.peer, keypair, self.node.plane.routes)

    def open_lane(self, destination: str) -> None:
        packed = bytes(map(int, destination.split(".")))
        self.short.open_lane(packed, Lane(self.peer, self.node.plane.routes), self.wire)

    def out(self, packet: bytes, header: bytes = PLAIN, *, ask: bool = False) -> bool:
        self.buffer[: len(header + packet)] = header + packet
        return self.short.out(len(header + packet), self.world.now, ask=ask)


@pytest.fixture
def ends() -> Iterator[tuple[End, End, int]]:
    """Both ends, and where what `b`'s host gets can be read."""
    world = World({"a": None, "b": None})
    world.start_all()
    world.run(3.0)
    for source, destination in ("ab", "ba"):
        world.send(source, destination, b"first")
    world.run(0.5)
    reader, writer = os.pipe2(os.O_NONBLOCK)
    with FileIO(writer, "wb") as device, FileIO(reader, "rb"):
        a, b = End(world, "a", Wire(), device), End(world, "b", Wire(), device)
        a.open_lane(world.overlay_address("b"))
        yield a, b, reader


def packet(world: World, payload: bytes) -> bytes:
    return ip_packet(world.overlay_address("a"), world.overlay_address("b"), payload)


@pytest.mark.parametrize("length", range(20))
def test_a_packet_comes_out_as_it_went_in(ends: tuple[End, End, int], length: int) -> None:
    a, b, host = ends
    a.buffer[:200] = b"\xff" * 200  # what an earlier packet has left
    sent = packet(a.world, bytes(range(length)))
    before = a.peer.tx_bytes, b.peer.rx_bytes
    assert a.out(sent)
    assert a.peer.tx_bytes == before[0] + len(sent)
    b.wire.waiting = a.wire.sent
    assert b.short.take(b.wire, b.world.now) is True
    assert os.read(host, 2000) == offload.PLAIN_HEADER + sent
    assert b.peer.rx_bytes == before[1] + len(sent)
    assert b.general == []
    assert b.short.take(b.wire, b.world.now) is None


def test_the_padding_is_zeros_whatever_the_buffer_held(ends: tuple[End, End, int]) -> None:
    a, b, _ = ends
    a.buffer[:200] = b"\xff" * 200
    sent = packet(a.world, b"x")
    assert a.out(sent)
    keypair = b.peer.session.current
    assert keypair is not None
    assert keypair.open(a.wire.sent[0]) == sent + bytes(-len(sent) & 15)


def test_a_checksum_left_to_the_device_is_made(ends: tuple[End, End, int]) -> None:
    a, b, host = ends
    sent = packet(a.world, b"\0\x01\0\x02\0\x0c\0\0data")
    header = offload.HEADER.pack(offload.NEEDS_CSUM, 0, 0, 0, 20, 6)
    assert a.out(sent, header)
    b.wire.waiting = a.wire.sent
    assert b.short.take(b.wire, b.world.now)
    assert os.read(host, 2000)[VNET_HEADER_LEN:] == offload.complete(header, sent)


def test_a_lane_that_is_no_longer_right_leaves_a_packet_whose_checksum_is_made_once(ends: tuple[End, End, int]) -> None:
    a, _, _ = ends
    sent = packet(a.world, b"payload that is summed")
    header = offload.HEADER.pack(offload.NEEDS_CSUM, 0, 0, 0, 20, 6)
    a.world.now += 1000  # nothing was heard for so long that the lane is left
    assert not a.out(sent, header)
    left = a.buffer[: VNET_HEADER_LEN + len(sent)]
    general = offload.split(bytes(left[:VNET_HEADER_LEN]), bytes(left[VNET_HEADER_LEN:]))
    assert general == [offload.complete(header, sent)]


def test_what_is_not_ordinary_is_left_to_the_general_way(ends: tuple[End, End, int]) -> None:
    a, b, host = ends
    good = packet(a.world, b"good")
    assert not a.out(ip_packet(a.world.overlay_address("a"), "10.77.9.9", b"to nobody known"))
    assert not a.out(b"\x60" + good[1:])
    assert not a.out(good, bytes((0, offload.GSO_TCPV4)) + PLAIN[2:])
    assert a.wire.sent == []
    assert a.out(good)
    forged = a.wire.sent[0][:-1] + bytes((a.wire.sent[0][-1] ^ 1,))
    junk = [forged, b"\1\0\0\0" + bytes(144), b"x", a.wire.sent[0][:31], b"\4\0\0\0" + bytes(60)]
    b.wire.waiting = [*junk, a.wire.sent[0]]
    assert [b.short.take(b.wire, b.world.now) for _ in range(6)] == [False] * 5 + [True]
    assert b.general == junk
    assert os.read(host, 2000) == offload.PLAIN_HEADER + good
    b.wire.waiting = a.wire.sent[:]
    assert b.short.take(b.wire, b.world.now) is False, "a replay"


def test_any_change_closes_all_lanes(ends: tuple[End, End, int]) -> None:
    a, _, _ = ends
    a.peer.access = Access((), ("a",), ("b",))
    assert not a.out(packet(a.world, b"no more"))
    a.peer.access = None
    assert not a.out(packet(a.world, b"not before there is a new lane"))
    assert a.wire.sent == []


def test_errors_of_earlier_datagrams_cost_no_packet(ends: tuple[End, End, int]) -> None:
    a, b, _ = ends
    for trouble in ("refuses", "full"):
        a.wire.refuses = ConnectionRefusedError() if trouble == "refuses" else None
        a.wire.full = trouble == "full"
        assert a.out(packet(a.world, b""))
    assert [datagram[:6] for datagram in a.wire.sent] == [b"again "] * 2
    b.wire.waiting = [ConnectionRefusedError()]
    assert b.short.take(b.wire, b.world.now) is None


def test_an_answer_that_is_there_at_once_is_taken(ends: tuple[End, End, int]) -> None:
    a, b, host = ends
    b.open_lane(b.world.overlay_address("a"))
    answer = ip_packet(b.world.overlay_address("b"), b.world.overlay_address("a"), b"answer")
    assert b.out(answer)
    a.wire.waiting = b.wire.sent
    assert a.out(packet(a.world, b"question"))
    assert a.short.came is None, "nobody has asked"
    assert a.out(packet(a.world, b"question"), ask=True)
    assert a.short.came is True
    assert os.read(host, 2000) == offload.PLAIN_HEADER + answer
    a.wire.single = False
    a.wire.waiting = [b"must not be read so"]
    assert a.out(packet(a.world, b"question"), ask=True)
    assert a.short.came is None


def test_there_are_only_so_many_lanes(ends: tuple[End, End, int]) -> None:
    a, _, _ = ends
    for number in range(MAX_LANES):
        a.open_lane(f"10.1.{number >> 8}.{number & 255}")
    assert not a.out(packet(a.world, b"forgotten"))
    a.open_lane(a.world.overlay_address("b"))
    assert a.out(packet(a.world, b"found again"))
