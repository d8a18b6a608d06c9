"""What a host, or a peer, may put into a tunnel that makes no sense: each kind that the fuzzer of devices has found."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

import pytest
from refmesh_hostility import peer, peer_says

from overlays.refmesh.core import offload, packets, rows_loader
from overlays.refmesh.core.offload import HEADER, NEEDS_CSUM, PLAIN_HEADER
from overlays.refmesh.driver.datapath import Datapath
from overlays.refmesh.simulation.world import World, ip_packet
from overlays.refmesh.wire import control

HOME = ("45.0.1.1", 40000)


def connected(**options: Any) -> World:
    world = World({"a": None, "b": None}, options=options)
    world.start_all()
    world.run(3.0)
    assert set(world.paths()) == {"direct"}
    world.received["a"].clear()
    return world


@pytest.mark.parametrize("first", [0x40, 0x41, 0x44, 0x4F, 0x60, 0x65, 0x90])
def test_what_makes_no_sense_is_neither_cut_nor_answered(first: int) -> None:
    world = connected()
    a, b = world.nodes["a"], peer(world, "a", "b")
    good = ip_packet("10.77.0.1", "10.77.0.2", bytes(1300))
    b.limit = 496
    strange = bytes((first,)) + good[1:]
    sealed = a.egress.sealed(b, [good, strange], world.now)
    assert sealed is not None
    makes_sense = packets.trim(strange) == strange
    assert makes_sense is (first == 0x4F)  # options of zeros, and long enough for them
    assert len(sealed) == (6 if makes_sense else 3)
    assert a.plane.to_tun == []


def test_a_checksum_is_never_made_where_addresses_are() -> None:
    packet = ip_packet("10.77.0.1", "10.77.0.2", b"payload")
    six = bytes((0x60, 0, 0, 0, 0, 4, 17, 64)) + bytes(32) + b"data"
    for start, offset in ((0, 0), (0, 16), (12, 4), (16, 0), (1, 65535), (20, 65535)):
        header = HEADER.pack(NEEDS_CSUM, 0, 0, 0, start, offset)
        assert offload.complete(header, packet) == packet
        assert offload.split(header, packet) == [packet]
    assert offload.split(HEADER.pack(NEEDS_CSUM, 0, 0, 0, 24, 0), six) == []
    made = offload.complete(HEADER.pack(NEEDS_CSUM, 0, 0, 0, 20, 6), packet)
    assert made[:26] == packet[:26]
    assert made != packet


@pytest.mark.parametrize("words", range(8))
def test_segments_whose_header_is_too_short_are_not_merged(words: int) -> None:
    some = []
    for number in range(3):
        body = bytes((0xF0, 0, 0, 80)) + (number * (20 + 100 - words * 4)).to_bytes(4, "big") + bytes(4)
        body += bytes((words << 4, 0x10)) + bytes(106)
        packet = bytearray(ip_packet("10.77.0.2", "10.77.0.1", b"", protocol=6)[:20] + body)
        packet[2:4] = len(packet).to_bytes(2, "big")
        packet[10:12] = offload.finish_sum(offload.ones_sum(bytes(packet[:20]))).to_bytes(2, "big")
        total = offload.ones_sum(bytes(packet[12:])) + 6 + len(body)
        packet[36:38] = offload.finish_sum(total).to_bytes(2, "big")
        some.append(bytes(packet))
    assert len(list(offload.merge(some))) == (1 if words in (5, 6, 7) else 3)


def test_a_peer_of_layer_2_puts_in_nothing_that_the_switch_has_not_seen() -> None:
    world = connected(layer="l2")
    while rows_loader.large() is None:
        rows_loader._threads[0].join()
    packet = ip_packet("10.77.0.2", "10.77.0.1", bytes(900))
    peer_says(world, "b", "a", packet, HOME)
    keypair, now = peer(world, "b", "a").session.current, world.now
    assert keypair is not None
    ingress, plane = world.nodes["a"].ingress, world.nodes["a"].plane
    ingress.receive_run(keypair.seal_many([packet] * 6), HOME, now)
    rows = keypair.seal_many([packet] * 6)
    ingress.receive_rows(memoryview(bytearray(b"".join(rows))), len(rows[0]), HOME, now)
    assert (plane.to_tun, plane.large) == ([], [])
    frame = b"\2" + bytes(5) + b"\2" + bytes(4) + b"\7" + b"\x08\x00" + packet
    peer_says(world, "b", "a", control.frame(control.ETHERNET, frame), HOME)
    assert plane.to_tun == [frame]


class Refusing:
    """A device that refuses what it is given first."""

    def __init__(self) -> None:
        self.fd, self.file, self.written = -1, self, 0
        self.readinto = lambda _: None

    def write(self, _: object) -> None:
        self.written += 1
        if self.written == 1:
            raise OSError(errno.ENOMEM, "no memory")


def test_what_a_device_refuses_once_does_not_come_again_and_again() -> None:
    world = connected()
    device: Any = Refusing()
    streams: Any = SimpleNamespace()
    datapath = Datapath(world.nodes["a"], device, streams)
    plane = world.nodes["a"].plane
    for packet in (b"first", b"second"):
        plane.to_tun += [packet, packet]
        if packet == b"first":
            with pytest.raises(OSError, match="no memory"):
                datapath.write_tun()
        else:
            datapath.write_tun()
        assert plane.to_tun == []
    plane.large.append([PLAIN_HEADER, b"large"])
    datapath.write_tun()
    assert (plane.large, device.written) == ([], 4)
