"""The short ways of small packets: they lead where the general way leads, and end when anything changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from overlays.refmesh.core.access import Access
from overlays.refmesh.core.connectivity import SILENCE_S
from overlays.refmesh.core.keypair import REKEY_AFTER_S, Keypair
from overlays.refmesh.core.lane import HEAD_LEN, PADS, Inlet, Lane
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.simulation.world import World, ip_packet
from overlays.refmesh.wire import messages


def pair() -> tuple[World, Peer, Peer]:
    """Return a world of two nodes with a session; `b` as `a` sees it, and the other way round."""
    world = World({"a": None, "b": None})
    world.start_all()
    world.run(3.0)
    world.send("a", "b", b"first")
    world.send("b", "a", b"first")
    world.run(0.5)
    return world, *(next(iter(world.nodes[name].peers.by_key.values())) for name in ("a", "b"))


def current(peer: Peer) -> Keypair:
    assert peer.session.current is not None
    return peer.session.current


def seal(lane: Lane, packet: bytes, now: float) -> bytes | None:
    """As a driver does it."""
    datagram = lane.seal(packet + PADS[-len(packet) & 15], now)
    if datagram is not None:
        lane.note(len(packet), now)
    return datagram


def opened(inlet: Inlet, datagram: bytes, now: float) -> bytes | None:
    """As a driver does it."""
    found = inlet.open(messages.TRANSPORT_HEAD.unpack_from(datagram)[2], datagram[HEAD_LEN:], now)
    if found is not None:
        inlet.note(len(found), now)
    return found


def packet(world: World, payload: bytes) -> bytes:
    return ip_packet(world.overlay_address("a"), world.overlay_address("b"), payload)


@pytest.mark.parametrize("length", range(40))
def test_a_lane_and_an_inlet_carry_a_packet_as_it_is(length: int) -> None:
    world, to_b, to_a = pair()
    sent = packet(world, bytes(range(length)))
    before = current(to_b).counter, to_b.tx_bytes, to_a.rx_bytes
    datagram = seal(Lane(to_b, world.nodes["a"].plane.routes), sent, world.now)
    assert datagram is not None
    assert len(datagram) % 16 == 0
    inlet = Inlet(to_a, current(to_a), world.nodes["b"].plane.routes)
    assert opened(inlet, datagram, world.now) == sent
    assert (current(to_b).counter, to_b.tx_bytes, to_a.rx_bytes) == (
        before[0] + 1,
        before[1] + len(sent),
        before[2] + len(sent),
    )
    # A replay, and a forgery of the next one, are no packets and leave no trace.
    assert opened(inlet, datagram, world.now) is None
    following = seal(Lane(to_b, world.nodes["a"].plane.routes), sent, world.now)
    assert following is not None
    assert opened(inlet, following[:-1] + bytes((following[-1] ^ 1,)), world.now) is None
    assert opened(inlet, following, world.now) == sent


def test_an_inlet_takes_no_others_address_and_nothing_cut_off() -> None:
    world, to_b, to_a = pair()
    lane = Lane(to_b, world.nodes["a"].plane.routes)
    inlet = Inlet(to_a, current(to_a), world.nodes["b"].plane.routes)
    honest = packet(world, b"honest")
    foreign = ip_packet("10.77.9.9", world.overlay_address("b"), b"forged")
    for wrong in (
        foreign,
        honest[:2] + b"\xff\xff" + honest[4:],
        honest[:2] + b"\0\x13" + honest[4:],
        b"",
        b"\x60" * 60,
    ):
        datagram = seal(lane, wrong, world.now)
        assert datagram is not None
        assert opened(inlet, datagram, world.now) is None
        # It counts as not yet seen: the general way decides, and drops it.
        world.nodes["b"].ingress.receive(datagram, ("1.2.3.4", 5), world.now)
        assert world.nodes["b"].plane.to_tun == []


def revoke(world: World, _peer: Peer, name: str) -> None:
    node = world.nodes[name]
    node.peers._remove(next(iter(node.peers.by_key.values())))


def close(_world: World, peer: Peer, _name: str) -> None:
    peer.access = Access((), ("a",), ("b",))


def lose_the_path(_world: World, peer: Peer, _name: str) -> None:
    peer.path = None


def get_new_keys(_world: World, peer: Peer, _name: str) -> None:
    peer.session.current = Keypair(current(peer).keys, 0.0)


@pytest.mark.parametrize("change", [revoke, close, lose_the_path, get_new_keys])
def test_the_short_ways_end_with_any_change(change: Callable[[World, Peer, str], None]) -> None:
    world, to_b, to_a = pair()
    lane = Lane(to_b, world.nodes["a"].plane.routes)
    inlet = Inlet(to_a, current(to_a), world.nodes["b"].plane.routes)
    datagram = seal(lane, packet(world, b"in time"), world.now)
    assert datagram is not None
    change(world, to_b, "a")
    change(world, to_a, "b")
    counter = current(to_b).counter
    assert seal(lane, packet(world, b"too late"), world.now) is None
    assert current(to_b).counter == counter
    assert opened(inlet, datagram, world.now) is None


def test_old_keys_and_a_silent_peer_need_the_general_way() -> None:
    world, to_b, to_a = pair()
    lane = Lane(to_b, world.nodes["a"].plane.routes)
    datagram = seal(lane, packet(world, b""), world.now)
    assert datagram is not None
    assert seal(lane, packet(world, b""), to_b.session.last_received_s + SILENCE_S + 0.1) is None
    to_b.session.last_received_s = later = world.now + REKEY_AFTER_S + 60
    assert seal(lane, packet(world, b""), later) is None
    inlet = Inlet(to_a, current(to_a), world.nodes["b"].plane.routes)
    assert opened(inlet, datagram, later) is None
    assert opened(inlet, datagram, world.now) == packet(world, b"")


def test_where_rules_look_at_ports_there_is_no_short_way() -> None:
    _, to_b, to_a = pair()
    assert Lane.possible(to_b)
    assert Inlet.possible(to_a)
    for peer in (to_b, to_a):
        peer.access = Access((), ("a",), ("b",))
    assert not Lane.possible(to_b)
    assert not Inlet.possible(to_a)


def test_a_revoked_peers_packets_do_not_get_through_the_node() -> None:
    world, to_b, _ = pair()
    lane = Lane(to_b, world.nodes["a"].plane.routes)
    node = world.nodes["b"]
    for number in range(3):
        datagram = seal(lane, packet(world, bytes((number,))), world.now)
        assert datagram is not None
        node.ingress.receive(datagram, ("1.2.3.4", 5), world.now)
    assert len(node.plane.to_tun) == 3
    node.plane.to_tun.clear()
    revoke(world, to_b, "b")
    datagram = seal(lane, packet(world, b"after"), world.now)
    assert datagram is not None
    node.ingress.receive(datagram, ("1.2.3.4", 5), world.now)
    assert node.plane.to_tun == []
