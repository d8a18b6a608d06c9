"""Paths that carry less than was asked for: found by probes or told by the kernel, and made known to the host."""

from __future__ import annotations

import random
import struct

import pytest

from harness.simulation.internet import Packet
from overlays.refmesh.core import offload, too_big
from overlays.refmesh.core.path_mtu import ANY, OVERHEAD, STEP
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.core.probing import LARGE
from overlays.refmesh.simulation.world import World, ip_packet

DF = 0x40


class Narrow(World):
    """Drops without a word what has more than `room` octets of UDP payload, between nodes and in relayed traffic."""

    room = 1 << 16
    large = 0
    """Datagrams of more than a small one's size that nodes have sent."""

    def loses(self, packet: Packet) -> bool:
        """Lose what is too large."""
        datagram = packet.payload
        between = all(end.address.startswith("45.") for end in (packet.source, packet.destination))
        if datagram[0] == 6 or between:
            self.large += len(datagram) > LARGE + OVERHEAD
            if len(datagram) > self.room:
                return True
        return super().loses(packet)


def direct(**options: object) -> Narrow:
    world = Narrow({"a": None, "b": None}, **options)  # type: ignore[arg-type]
    world.start_all()
    assert world.run(10.0, lambda: set(world.paths()) == {"direct"})
    world.run(2.0)
    return world


def of(world: World, name: str) -> Peer:
    (peer,) = world.nodes[name].peers.by_key.values()
    return peer


def packet(world: World, length: int, flags: int = DF) -> bytes:
    made = bytearray(ip_packet(world.overlay_address("a"), world.overlay_address("b"), bytes(length - 28)))
    made[6] = flags
    return bytes(made)


def stream(world: World, seconds: float, length: int = 1400, every_s: float = 0.05) -> None:
    """a's host sends packets that may not be cut, as TCP's."""
    until = world.now + seconds
    while world.now < until:
        world.nodes["a"].egress.packets([packet(world, length)], world.now)
        world._settle_node("a")
        world.run(every_s)


def told(world: World) -> list[int]:
    """Return the MTUs that a's host has been told of."""
    return [int.from_bytes(p[26:28], "big") for p in world.received["a"] if p[9] == 1 and p[20:22] == b"\x03\x04"]


def test_a_path_that_is_wide_enough_is_probed_seldom_and_one_without_large_packets_never() -> None:
    world = direct()
    stream(world, 30.0, length=1000)
    assert world.large == 0
    stream(world, 30.0, every_s=0.5)
    assert of(world, "a").limit == ANY
    assert not told(world)
    assert world.large <= 60 + 30 / 5 + 2


@pytest.mark.parametrize("room", [1432, 1399, 1300, 1201, 1000, 600])
@pytest.mark.parametrize("mode", ["mesh", "relay"])
def test_a_black_hole_is_found_and_the_host_is_told(mode: str, room: int) -> None:
    world = Narrow({"a": None, "b": None}, mode=mode)
    world.start_all()
    assert world.run(10.0, lambda: "none" not in world.paths())
    world.room = room
    stream(world, 20.0)
    limit = of(world, "a").limit
    prefix = 8 if mode == "relay" else 0
    assert room - OVERHEAD - prefix - 2 * STEP <= limit <= room - OVERHEAD - prefix
    assert told(world)[-1] == limit
    # What the host sends from now on arrives.
    world.received["b"].clear()
    world.nodes["a"].egress.packets([packet(world, limit)] * 5, world.now)
    world._settle_node("a")
    world.run(1.0)
    assert len(world.received["b"]) == 5


def test_a_path_that_becomes_narrow_is_noticed_while_large_packets_go_out() -> None:
    world = direct()
    stream(world, 20.0)
    world.room = 1350
    stream(world, 10.0)
    assert of(world, "a").limit <= 1350 - OVERHEAD
    # Wide again: noticed within RFC 8899's ten minutes and a little.
    world.room = 1 << 16
    stream(world, 605.0, every_s=1.0)
    assert of(world, "a").limit == ANY


def test_a_path_that_is_dead_is_not_taken_for_a_narrow_one() -> None:
    world = direct()
    stream(world, 1.0)
    world.cut_between = {world.address["a"], world.address["b"]}
    world.stop_server("s0")
    stream(world, 60.0, every_s=0.5)
    assert all(state.limit(0) == ANY for state in of(world, "a").mtus.values())


@pytest.mark.parametrize("seed", range(4))
def test_loss_alone_does_not_make_a_path_narrow_for_long(seed: int) -> None:
    world = direct(seed=seed, loss=0.05)
    stream(world, 120.0, every_s=0.2)
    assert of(world, "a").limit == ANY


@pytest.mark.parametrize("delay_s", [0.01, 0.3])
def test_a_long_path_is_given_time(delay_s: float) -> None:
    world = direct(delay_s=delay_s)
    stream(world, 30.0)
    assert of(world, "a").limit == ANY


def test_what_the_kernel_refuses_holds_at_once() -> None:
    world = direct()
    world.room = 1432
    peer = of(world, "a")
    assert peer.path is not None
    world.nodes["a"].refused(peer.path.endpoint, 1432, world.now)
    assert peer.limit == 1392
    stream(world, 20.0)
    assert peer.limit == 1392
    assert set(told(world)) == {1392}


def test_a_new_network_is_tried_anew() -> None:
    world = direct()
    peer = of(world, "a")
    assert peer.path is not None
    world.nodes["a"].refused(peer.path.endpoint, 1300, world.now)
    assert peer.limit < 1300
    world.nodes["a"].network_changed([("host", world.address["a"], 40000)], world.now)
    assert peer.limit == ANY


def test_a_packet_that_may_be_cut_is_cut() -> None:
    world = direct()
    peer = of(world, "a")
    assert peer.path is not None
    world.nodes["a"].refused(peer.path.endpoint, 1000, world.now)
    whole = packet(world, 1400, flags=0)[:-1000] + random.Random(1).randbytes(1000)
    world.nodes["a"].egress.packets([whole], world.now)
    world._settle_node("a")
    world.run(1.0)
    pieces = world.received["b"]
    assert len(pieces) == 2
    assert b"".join(piece[20:] for piece in pieces) == whole[20:]
    assert not told(world)


# --- large TCP packets of the kernel


def gso(world: World, segments: int, size: int) -> memoryview:
    tcp = struct.pack("!HHIIBBHHH", 1000, 2000, 5, 77, 5 << 4, 0x10, 500, 0, 0)
    payload = random.Random(1).randbytes(segments * size)
    head = bytearray(packet(world, 28)[:20])
    head[9] = 6
    head[2:4] = (40 + len(payload)).to_bytes(2, "big")
    return memoryview(bytes(head) + tcp + payload)


def test_a_large_packet_is_cut_to_what_the_path_carries() -> None:
    world = direct()
    node, peer = world.nodes["a"], of(world, "a")
    assert peer.path is not None
    large = gso(world, 10, 1360)
    assert node.egress.segment(peer, large, 20, 1360, world.now) == 1360
    node.refused(peer.path.endpoint, 1432, world.now)
    for _ in range(50):
        assert node.egress.segment(peer, large, 20, 1360, world.now) == 1392 - 40
    world._settle_node("a")
    assert told(world) == [1392]  # not fifty times
    answer = next(p for p in world.received["a"] if p[9] == 1)
    assert answer[28:56] == large[:28]  # with the sequence number, by which TCP knows that it is meant


# --- the words of a router


@pytest.mark.parametrize("options", [b"", bytes((7, 3, 4, 0))])
@pytest.mark.parametrize("mtu", [68, 576, 1000, 1399])
def test_fragments_make_the_packet_again(mtu: int, options: bytes) -> None:
    content = random.Random(mtu).randbytes(1400)
    head = struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, 0, 20 + len(options) + 1400, 7, 0, 64, 17, 0)
    whole = head + bytes((10, 0, 0, 1, 10, 0, 0, 2)) + options + content
    pieces = too_big.fragments(whole, mtu)
    # Cut once more by the next one.
    pieces = [again for piece in pieces for again in too_big.fragments(piece, max(68, mtu // 2))]
    rebuilt = bytearray(len(content))
    for piece in pieces:
        header = (piece[0] & 15) * 4
        word = piece[6] << 8 | piece[7]
        start = (word & 0x1FFF) * 8
        assert len(piece) <= max(mtu, 68)
        assert int.from_bytes(piece[2:4], "big") == len(piece)
        assert offload.ones_sum(piece[:header]) == 0
        rebuilt[start : start + len(piece) - header] = piece[header:]
        assert bool(word & 0x2000) == (start + len(piece) - header < len(content))
    assert bytes(rebuilt) == content


def test_a_router_says_so_with_right_checksums() -> None:
    v4 = bytes.fromhex("450005780007400040060000") + bytes((10, 0, 0, 1, 10, 0, 0, 2)) + bytes(1380)
    answer = too_big.too_big(v4, 1300)
    assert answer is not None
    assert offload.ones_sum(answer[:20]) == offload.ones_sum(answer[20:]) == 0
    assert answer[12:20] == bytes((10, 0, 0, 2, 10, 0, 0, 1))
    assert len(answer) <= 576
    v6 = struct.pack("!IHBB", 6 << 28, 1360, 6, 64) + bytes(range(1, 33)) + bytes(1360)
    answer = too_big.too_big(v6, 1000)
    assert answer is not None
    assert int.from_bytes(answer[44:48], "big") == 1280  # RFC 8200: never less
    assert len(answer) <= 1280
    pseudo = answer[8:40] + (len(answer) - 40).to_bytes(4, "big") + bytes((0, 0, 0, 58))
    assert (offload.ones_sum(pseudo) + offload.ones_sum(answer[40:])) % 0xFFFF == 0


@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12])
def test_no_error_about_an_error_a_later_fragment_or_a_group(kind: int) -> None:
    v4 = bytearray(bytes.fromhex("450005780007400040010000") + bytes((10, 0, 0, 1, 10, 0, 0, 2)) + bytes(1380))
    v4[20] = kind
    assert too_big.too_big(bytes(v4), 1300) is None
    v4[20] = 8
    assert too_big.too_big(bytes(v4), 1300) is not None
    assert too_big.too_big(bytes(v4[:7]) + b"\x09" + bytes(v4[8:]), 1300) is None
    assert too_big.too_big(bytes(v4[:16]) + bytes((239, 1, 1, 1)) + bytes(v4[20:]), 1300) is None


# --- layer 2


def test_on_layer_2_the_host_is_told_in_a_frame() -> None:
    world = direct(options={"layer": "l2"})
    node, peer = world.nodes["a"], of(world, "a")
    assert peer.path is not None
    ours, theirs = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
    node.refused(peer.path.endpoint, 1300, world.now)
    ip = packet(world, 1300)
    node.egress.frame(theirs + ours + b"\x08\x00" + ip, world.now)
    (answer,) = node.plane.to_tun
    assert answer[:14] == ours + theirs + b"\x08\x00"
    limit = int.from_bytes(answer[14 + 26 : 14 + 28], "big")
    node.plane.to_tun.clear()
    node.egress.frame(theirs + ours + b"\x08\x00" + packet(world, limit), world.now)
    world._settle_node("a")
    world.run(1.0)
    assert not world.received["a"]
    assert len(world.received["b"][-1]) == limit + 14
