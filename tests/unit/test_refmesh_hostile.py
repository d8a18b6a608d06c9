"""A hostile server can deny service, but reads nothing, injects nothing and adds nobody; strangers stay outside."""

from __future__ import annotations

import random

from overlays.refmesh import credentials, keys
from overlays.refmesh.core.node import Node
from overlays.refmesh.server.engine import Server
from overlays.refmesh.server.hub import Hub
from overlays.refmesh.server.registry import Registration
from overlays.refmesh.simulation.world import UNIX_S, World, ip_packet
from overlays.refmesh.wire import messages

UNTIL_S = int(UNIX_S) + 10**6


def pair(mode: str = "mesh") -> tuple[World, Server]:
    world = World({"a": "symmetric", "b": "symmetric"}, mode=mode)
    world.start_all()
    world.run(3.0)
    server = world.servers["s0"]
    assert server is not None
    return world, server


def member(server: Server, name: str) -> Registration:
    return next(r for r in server.registry.by_key.values() if r.certificate.name == name)


def test_a_server_cannot_send_packets_in_a_members_name() -> None:
    for mode in ("mesh", "relay"):
        world, server = pair(mode)
        for source in (world.overlay_address("b"), "10.77.9.9"):
            server.outlet.send(member(server, "a"), ip_packet(source, world.overlay_address("a"), b"forged"), world.now)
        world._settle_server("s0")
        world.run(1.0)
        assert world.received["a"] == []


def test_a_server_cannot_make_itself_a_hub() -> None:
    world, server = pair()
    for registration in server.registry.by_key.values():
        server.herald.log.put(registration.certificate.name, registration.entry() | {"hub": True})
    seen: list[bytes] = []
    server.hub = Hub(server.registry, server.outlet, ())
    server.hub.forward_from = lambda _, batch, __: seen.extend(batch)  # type: ignore[method-assign]
    server.herald._hub = True
    server.herald.tell_all(world.now)
    world._settle_server("s0")
    world.run(2.0)
    world.send("a", "b", b"for b alone")
    world.run(1.0)
    assert seen == []
    assert world.received["b"][-1].endswith(b"for b alone")


def test_a_server_cannot_add_a_node_nor_change_an_address() -> None:
    world, server = pair()
    rng = random.Random(9)
    forged = credentials.issue(
        rng.randbytes(32),
        "evil",
        keys.public(rng.randbytes(32)),
        ["10.77.0.66/16"],
        not_after=UNTIL_S,
        rng=rng.randbytes,
    )
    entry = member(server, "b").entry()
    server.herald.log.put("evil", entry | {"certificate": forged})
    body, signature = entry["certificate"].split(".")
    text = credentials._unb64(body).replace(b"10.77.0.2", b"10.77.0.1")
    server.herald.log.put("b2", entry | {"certificate": f"{credentials._b64(text)}.{signature}"})
    server.herald.tell_all(world.now)
    world._settle_server("s0")
    world.run(2.0)
    assert [peer.name for peer in world.nodes["a"].peers.by_key.values()] == ["b"]
    assert sum("refuse" in event for event in world.events if " a: " in event) == 2


def test_a_relay_sees_only_ciphertext() -> None:
    world, server = pair("relay")
    secret = b"nobody else may read this"
    passing: list[bytes] = []
    receive = server.receive
    server.receive = lambda datagram, source, now: (passing.append(datagram), receive(datagram, source, now))[1]  # type: ignore[method-assign]
    world.send("a", "b", secret)
    world.run(1.0)
    assert world.received["b"][-1].endswith(secret)
    assert any(messages.message_type(datagram) == messages.RELAY for datagram in passing)
    assert not any(secret in datagram for datagram in passing)


def refused(world: World, certificate: str, private: bytes | None = None) -> bool:
    """Whether a node with this certificate stays outside."""
    config = world.config("b", certificate=certificate, **({"private_key": private} if private else {}))
    own = credentials.Certificate(
        "b", keys.public(config.private_key), ("10.77.0.2/16",), (), "node", "", UNTIL_S, certificate, invited=False
    )
    node = Node(config, own, world.rng.randbytes, UNIX_S)
    world.adopt("b", node)
    node.start(world.now)
    world._settle_node("b")
    world.run(4.0)
    return not node.ready


def test_without_a_valid_credential_a_node_stays_outside_and_that_is_logged() -> None:
    rng = random.Random(11)
    private = rng.randbytes(32)
    for authority, not_after in ((rng.randbytes(32), UNTIL_S), (None, int(UNIX_S) - 10**6)):
        world = World({"a": None, "b": None})
        world.start("a")
        signer = authority or world.network.authority_private
        text = credentials.issue(
            signer, "b", keys.public(private), ["10.77.0.2/16"], not_after=not_after, rng=rng.randbytes
        )
        assert refused(world, text, private)
        assert any("s0: refused" in event for event in world.events)
        assert not world.nodes["a"].peers.by_key


def test_a_certificate_without_its_private_key_is_of_no_use() -> None:
    world = World({"a": None, "b": None})
    world.start("a")
    assert refused(world, world.network.certificates["b"], random.Random(12).randbytes(32))


def test_an_invitation_works_once() -> None:
    world = World({"a": None, "b": None})
    world.start("a")
    rng = random.Random(13)
    join_key = credentials.invite(
        world.network.authority_private, "b", ["10.77.0.2/16"], server="s0", not_after=UNTIL_S, rng=rng.randbytes
    )
    first, second = rng.randbytes(32), rng.randbytes(32)
    world.start(
        "b", config=world.config("b", private_key=first, certificate=credentials.redeem(join_key, keys.public(first)))
    )
    world.run(3.0)
    assert world.path("a", "b") == "direct"
    assert refused(world, credentials.redeem(join_key, keys.public(second)), second)
    assert any("has been used by another key" in event for event in world.events)


def test_a_member_cannot_send_with_anothers_address_and_that_is_logged_once() -> None:
    world = World({"a": None, "b": None, "c": None})
    world.start_all()
    world.run(3.0)
    assert set(world.paths()) == {"direct"}
    forged = ip_packet(world.overlay_address("c"), world.overlay_address("a"), b"forged")
    for _ in range(5):
        world.nodes["b"].egress.packets([forged], world.now)
        world._settle_node("b")
        world.run(0.2)
    assert world.received["a"] == []
    assert sum("an address that is not its own" in event for event in world.events if " a: b " in event) == 1
    world.send("b", "a", b"its own")
    world.run(0.2)
    assert world.received["a"][-1].endswith(b"its own")


def test_a_revoked_node_is_refused_when_it_comes_back_and_that_is_logged() -> None:
    world = World({"a": None, "b": None})
    serial = credentials.verify(world.network.certificates["b"], world.authority, UNIX_S).serial
    world.policy = credentials.sign_policy(
        world.network.authority_private, version=2, rules=[{"from": "*", "to": "*"}], revoked=[serial]
    )
    world.start_server("s0")
    world.start("a")
    assert refused(world, world.network.certificates["b"])
    assert any("s0: refused" in event for event in world.events)
    assert not world.nodes["a"].peers.by_key


def test_what_a_revoked_member_sends_through_a_hub_that_has_not_heard_of_it_is_dropped() -> None:
    world = World({"a": "full-cone", "b": "full-cone", "c": "full-cone"}, mode="hub", hub=True)
    world.start_all()
    world.run(4.0)
    world.send("b", "a", b"before")
    world.run(1.0)
    assert [packet[-6:] for packet in world.received["a"]] == [b"before"]
    (held,) = (c for c in world.servers["s0"].registry.by_key.values() if c.certificate.name == "b")
    rules = [{"from": "*", "to": "*"}]
    text = credentials.sign_policy(world.network.authority_private, 9, rules, revoked=[held.certificate.serial])
    world.nodes["a"].peers.set_policy(text)
    world.send("b", "a", b"after it")
    world.send("c", "a", b"from c")
    world.run(1.0)
    assert [packet[-6:] for packet in world.received["a"]] == [b"before", b"from c"]
