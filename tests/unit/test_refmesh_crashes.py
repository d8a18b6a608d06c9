"""Nothing that comes from outside, sealed or not, and no file ends a daemon: each at the level where it once did."""

from __future__ import annotations

import json
from typing import Any

import pytest
from refmesh_hostility import member_says, peer, registration, server_of, server_says

from overlays.refmesh.core import bulk, rows_loader
from overlays.refmesh.core.known import restore
from overlays.refmesh.errors import MalformedMessage
from overlays.refmesh.simulation.world import World
from overlays.refmesh.wire import bodies, control, messages

ODD: list[Any] = [
    None, True, -1, 1 << 32, 1 << 40, 1 << 70, 1.5, "7", "", "é", "\ud800", [], [[]], {}, {"a": 1}, ["tls", 1],
]  # fmt: skip
ODD_TEXT = [json.dumps(value) for value in ODD] + ["1e999", "-1e999", "NaN", "Infinity", "9" * 5000, "[" * 3000]
HELLO = {"seq": 7, "candidates": [["host", "192.168.1.2", 40000]], "direct": True, "hub": False, "epoch": "", "rev": 0}
HELLO["quiet"] = False
PUNCH = {"to": 1, "from": 1, "n": 1, "ask": True, "dependent": False, "host": "45.0.0.1", "ports": [1, 2]}
ODD_CANDIDATES = [
    '["host", 3232235778, 40000]', '["host", "10.0.0.1", true]', '["host", "10.0.0.1"]',
    '["host", "fe80::1%eth0", 5]', '["host", "127.0.0.1", 5]', '["host", "::1", 5]', '["host", "::ffff:224.0.0.1", 5]',
    '["host", "255.255.255.255", 5]', '["host", "", 5]', '["host", null, 5]', "null", "7", "{}",
    '[null, "10.0.0.1", 5]',
    '["host", "0.0.0.0", 5]', '["host", "10.0.0.1", 0]', '["host", "10.0.0.1", 65536]', '["host", "10.0.0.1", -1]',
]  # fmt: skip


def with_field(body: dict[str, Any], field: str, text: str) -> bytes:
    """Return the body as JSON with one field replaced by this text."""
    return json.dumps(body | {field: "@"}).replace('"@"', text).encode()


@pytest.fixture(scope="module")
def world() -> World:
    world = World({"a": None, "b": "symmetric"})
    world.start_all()
    world.run(3.0)
    return world


@pytest.mark.parametrize("text", ODD_TEXT)
def test_no_field_of_a_members_message_is_too_odd_for_a_server(world: World, text: str) -> None:
    server, before = server_of(world), registration(world, "a").endpoint
    for kind, body in ((control.HELLO, HELLO), (control.PUNCH, PUNCH)):
        for field in body:
            member_says(world, "a", control.frame(kind, with_field(body, field, text)))
            server.tick(world.now)
    assert server.guard.count == 0
    assert registration(world, "a").endpoint == before
    assert registration(world, "a").online


@pytest.mark.parametrize("text", ODD_TEXT)
def test_no_field_of_a_servers_message_is_too_odd_for_a_node(world: World, text: str) -> None:
    node = world.nodes["a"]
    entry = registration(world, "b").entry()
    part = {"policy": 1, "part": 0, "parts": 1, "text": ""}
    link = node.servers.links[0]
    update = {"seq": 0, "epoch": link.epoch, "from": 0, "to": 0, "you": None, "relay": 7, "hub": False, "entries": []}
    numbers = dict(peer(world, "a", "b").numbers)
    for field in update:
        server_says(world, "a", control.frame(control.UPDATE, with_field(update, field, text)))
        node.tick(world.now)
    for shape in (entry, part):
        for field in shape:
            inner = with_field(shape, field, text).decode()
            server_says(world, "a", control.frame(control.UPDATE, with_field(update, "entries", f"[{inner}]")))
            node.tick(world.now)
    for field in PUNCH:
        server_says(world, "a", control.frame(control.PUNCH, with_field(PUNCH, field, text)))
        node.tick(world.now)
    assert node.guard.count == 0
    assert peer(world, "a", "b").numbers[0] in (numbers[0], 1)


@pytest.mark.parametrize("candidate", ODD_CANDIDATES)
def test_an_odd_candidate_is_left_out_and_the_others_count(candidate: str) -> None:
    body = with_field(HELLO, "candidates", f'[{candidate}, ["host", "192.168.7.7", 5]]')
    assert bodies.read_hello(body).candidates == [("host", "192.168.7.7", 5)]


def test_relay_numbers_of_a_server_fit_into_a_relay_header() -> None:
    entry = {"certificate": "x", "candidates": [], "online": True, "direct": True, "hub": False}
    for number in (-1, 0, 1 << 32, 1 << 40):
        update = {"seq": 0, "epoch": "", "from": 0, "to": 1, "you": None, "hub": False}
        told = bodies.read_update(json.dumps(update | {"entries": [entry | {"relay": number}]}).encode())
        assert told.entries == []


def test_an_update_that_goes_backwards_is_none() -> None:
    update = {"seq": 0, "epoch": "", "from": 2, "to": 1, "you": None, "hub": False, "entries": []}
    with pytest.raises(MalformedMessage):
        bodies.read_update(json.dumps(update).encode())


def test_a_short_last_chunk_is_dropped_in_the_row_way_too(world: World) -> None:
    while rows_loader.large() is None:
        rows_loader._threads[0].join()
    receiver, keypair = world.nodes["a"], peer(world, "b", "a").session.current
    assert keypair is not None
    datagrams = []
    for plain in (*[bytes(600)] * 4, b"abc", b""):
        head = messages.TRANSPORT_HEAD.pack(messages.BULK, keypair.remote_index, keypair.counter)
        keypair.counter += 1
        datagrams.append(head + keypair.bulk[0].encrypt(bytes(4) + head[8:], plain, None))
    source = ("45.0.1.1", 999)
    for last in datagrams[4:]:
        data = memoryview(bytearray(b"".join(datagrams[:4]) + last))
        if not receiver.ingress.receive_rows(data, len(datagrams[0]), source, world.now):
            receiver.ingress.receive_run([*datagrams[:4], last], source, world.now)
    assert receiver.guard.count == 0
    assert receiver.plane.large == []
    assert list(bulk.rebuild([b"", b"abc", bytes(600), b"ab"])) == []


def test_what_is_stored_may_be_anything(world: World) -> None:
    node = world.nodes["a"]
    for stored in (None, 7, [], {}, {"policy": 1e999, "members": 3}, {"policy": None, "members": [7, None, {"x": 1}]}):
        restore(node, stored, world.now)
    known = {"certificate": world.network.certificates["b"], "candidates": [["host", 5, 5], ["host", "10.1.1.1", 5], 7]}
    restore(node, {"policy": None, "members": [known]}, world.now)


def test_a_fault_in_the_core_drops_its_message_and_is_said_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    node, server = world.nodes["b"], server_of(world)

    def fault(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    for engine, module in ((node, node.ingress._tunnel), (server, server.tunnel)):
        before = engine.guard.count  # type: ignore[attr-defined]
        with monkeypatch.context() as patch:
            patch.setattr(module, "receive", fault)
            receive = engine.ingress.receive if engine is node else engine.receive  # type: ignore[attr-defined]
            receive(bytes(148), ("1.2.3.4", 5), world.now)
            receive(bytes(148), ("1.2.3.4", 5), world.now)
        assert engine.guard.count == before + 2  # type: ignore[attr-defined]
    assert sum("a fault of refmesh itself" in event for event in node.outbox.events) == 1
    node.guard.count = server.guard.count = 0


def test_a_short_datagram_of_a_relay_in_a_run_is_dropped(world: World) -> None:
    node = world.nodes["a"]
    before = node.guard.count
    for length in range(1, 9):
        cut = messages.RELAY_HEAD.pack(messages.RELAY, 7)[:length]
        node.ingress.receive_run([cut] * 3, node.servers.links[0].udp, world.now)
    assert node.guard.count == before
