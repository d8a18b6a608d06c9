"""An address belongs to who receives there: a source that somebody has written on a datagram moves nobody."""

from __future__ import annotations

import pytest
from refmesh_hostility import member_says, peer, peer_says, registration, server_of

from overlays.refmesh.simulation.world import World, ip_packet
from overlays.refmesh.wire import control, messages

ELSEWHERE = ("66.6.6.6", 6666)
HELLO = {"seq": 99, "candidates": [], "direct": True, "hub": False, "epoch": "", "rev": 0, "quiet": False}


@pytest.fixture
def world() -> World:
    world = World({"a": "symmetric", "b": "symmetric", "c": None})
    world.start_all()
    world.run(3.0)
    assert world.path("a", "b") == "relayed"
    return world


def through(world: World, src: str, dst: str, count: int = 50) -> int:
    world.received[dst].clear()
    for number in range(count):
        world.send(src, dst, bytes([number]))
        world.run(0.02)
    world.run(0.5)
    return len(world.received[dst])


@pytest.mark.parametrize("kind", [control.PING, control.HELLO])
def test_a_member_that_writes_anothers_address_steals_no_relay(world: World, kind: int) -> None:
    victim, thief = registration(world, "a"), registration(world, "c")
    own, stolen = thief.endpoint, victim.endpoint
    assert stolen is not None
    body = control.frame(control.PING, bytes(8)) if kind == control.PING else control.json_frame(control.HELLO, HELLO)
    world.received["b"].clear()
    for number in range(50):
        member_says(world, "c", body, source=stolen)
        world.send("a", "b", bytes([number]))
        world.run(0.02)
    world.run(0.5)
    assert len(world.received["b"]) == 50
    assert (thief.endpoint, victim.endpoint) == (own, stolen)
    assert server_of(world).registry.by_endpoint[stolen] is victim


SAYS = {
    "ping": control.frame(control.PING, bytes(8)),
    "ping without a transaction": control.frame(control.PING, b""),
    "ping with half of one": control.frame(control.PING, bytes(7)),
    "pong without a transaction": control.frame(control.PONG, b""),
    "hello": control.json_frame(control.HELLO, HELLO),
}


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("what", SAYS)
def test_what_an_unproved_address_gets_is_a_question_and_a_pong(world: World, what: str, bare: bool) -> None:
    body = SAYS[what]
    out = member_says(world, "c", body, source=ELSEWHERE, bare=bare)
    said = [datagram for datagram, to in out if to == ELSEWHERE]
    assert said
    assert sum(map(len, said)) <= 3 * (messages.TRANSPORT_MIN_LEN + len(body))


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("what", SAYS)
def test_what_an_unproved_address_gets_of_a_peer_is_a_check_and_a_pong(world: World, what: str, bare: bool) -> None:
    node, body = world.nodes["b"], SAYS[what]
    node.outbox.main.clear()
    peer_says(world, "a", "b", body, ELSEWHERE, bare=bare)
    node.tick(world.now)
    said = [datagram for datagram, to in node.outbox.main if to == ELSEWHERE]
    assert sum(map(len, said)) <= 3 * (messages.TRANSPORT_MIN_LEN + len(body))


def test_a_wrong_or_misplaced_answer_is_no_proof(world: World) -> None:
    member = registration(world, "c")
    before = member.endpoint
    member_says(world, "c", control.frame(control.PING, bytes(8)), source=ELSEWHERE)
    probe = member.probe
    assert probe is not None
    member_says(world, "c", control.frame(control.PONG, bytes(8) + bytes(18)), source=ELSEWHERE)
    assert member.endpoint == before
    # The right answer from another place proves that place no more than this one.
    member_says(world, "c", control.frame(control.PONG, probe.transaction + bytes(18)), source=("66.6.6.7", 1))
    assert member.endpoint == before
    member_says(world, "c", control.frame(control.PING, bytes(8)), source=ELSEWHERE)
    assert member.probe is not None
    member_says(world, "c", control.frame(control.PONG, member.probe.transaction + bytes(18)), source=ELSEWHERE)
    assert member.endpoint == ELSEWHERE


def test_a_member_that_moves_is_believed_after_one_round_trip_and_its_hello_counts(world: World) -> None:
    nat = world.nats["a"]
    assert nat is not None
    before = registration(world, "a").endpoint
    nat.reboot()
    world.nodes["a"].servers.greet(world.now)
    world._settle_node("a")
    world.run(0.1)
    assert registration(world, "a").endpoint != before
    assert registration(world, "a").hello == world.nodes["a"].servers.links[0].greeting.seq
    assert through(world, "b", "a") == 50


def test_a_handshake_that_ends_elsewhere_than_its_answer_went_proves_nothing(world: World) -> None:
    server, member = server_of(world), registration(world, "c")
    before = member.endpoint
    assert before is not None
    link = world.nodes["c"].servers.links[0]
    world.now += 1.0
    server.receive(world.nodes["c"].tunnel.initiate(link.peer.session, world.now), before, world.now)
    ((response, to),) = server.outlet.datagrams
    server.outlet.datagrams.clear()
    assert to == before
    world.nodes["c"].ingress.receive(response, link.udp, world.now)
    member_says(world, "c", control.frame(control.PING, bytes(8)), source=ELSEWHERE)
    assert member.session.current is not None
    assert member.session.established_s == world.now
    assert member.endpoint == before


def test_a_relay_sends_nothing_to_where_a_member_was_long_ago(world: World) -> None:
    member, server = registration(world, "b"), server_of(world)
    number, where = member.number, registration(world, "a").endpoint
    assert where is not None
    assert server.relay.target(where, number) is not None
    world.stop("b")
    for _ in range(8):
        world.run(10.0)
    assert not member.online
    assert server.relay.target(where, number) is None
    world.start("b")
    world.run(1.0)
    assert member.online
    assert server.relay.target(registration(world, "a").endpoint, number) is not None
    assert through(world, "a", "b") == 50


def test_a_relay_repairs_what_two_members_claim(world: World) -> None:
    registry, a, c = server_of(world).registry, registration(world, "a"), registration(world, "c")
    assert a.endpoint is not None
    registry.moved(c, a.endpoint)  # the NAT has given a's address to another member
    assert server_of(world).relay.target(a.endpoint, registration(world, "b").number) is not None
    assert registry.by_endpoint[a.endpoint] is c
    assert through(world, "b", "a", 5) == 0  # to a nothing goes where now c is
    world.nodes["a"].servers.greet(world.now)
    world._settle_node("a")
    world.run(0.5)
    assert registry.by_endpoint[a.endpoint] is a
    assert through(world, "b", "a") == 50


def test_a_peers_written_source_does_not_draw_our_data(world: World) -> None:
    world = World({"a": None, "b": None})
    world.start_all()
    world.run(3.0)
    before = peer(world, "a", "b").path
    packet = ip_packet(world.overlay_address("b"), world.overlay_address("a"), b"x")
    peer_says(world, "b", "a", packet, ELSEWHERE)
    peer_says(world, "b", "a", control.frame(control.PING, bytes(8)), ELSEWHERE)
    sent = [(len(datagram), to) for datagram, to in world.nodes["a"].outbox.main if to == ELSEWHERE]
    assert sum(length for length, _ in sent) <= 3 * 48
    world.nodes["a"].outbox.main.clear()
    assert peer(world, "a", "b").path == before
    # Without any path, neither: new keys whose first message comes from elsewhere than our answer went.
    us = peer(world, "a", "b")
    assert us.finder is not None
    us.take(None)
    us.finder.checks.clear()
    us.finder.best = None
    peer_says(world, "b", "a", packet, ELSEWHERE)
    assert us.path is None
