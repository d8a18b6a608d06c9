"""Who is who: a key and a serial, not a text; older never replaces newer; a claim takes effect when its key has proved
to be there."""

from __future__ import annotations

import random
from typing import Any

import pytest
from refmesh_hostility import peer, registration, server_of, server_says

from overlays.refmesh import credentials, keys
from overlays.refmesh.core import introduction, packets
from overlays.refmesh.core.cookie import Macs
from overlays.refmesh.core.session import Session
from overlays.refmesh.errors import CredentialError
from overlays.refmesh.simulation.world import UNIX_S, World
from overlays.refmesh.wire import control

RNG = random.Random(5).randbytes
UNTIL_S = int(UNIX_S) + 10**6
URLSAFE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def variants(text: str) -> list[str]:
    """Other texts that a lenient reader of base64 takes for the same bytes."""
    found = []
    for at in [i - 1 for i in range(len(text) + 1) if i == len(text) or text[i] in "./"]:
        found += [text[:at] + other + text[at + 1 :] for other in URLSAFE if other != text[at]]
    found += [text + "=", text + "==", text.replace("-", "+"), text.replace("_", "/"), text + "\n", " " + text]
    return [variant for variant in found if variant != text]


def test_a_certificate_has_one_text() -> None:
    seed, member = RNG(32), RNG(32)
    authority = keys.signing_public(seed)
    text = credentials.issue(seed, "a", keys.public(member), ["10.77.0.1/16"], not_after=UNTIL_S, rng=RNG)
    join_key = credentials.invite(seed, "b", ["10.77.0.2/16"], server="s0", not_after=UNTIL_S, rng=RNG)
    joined = credentials.redeem(join_key, keys.public(member))
    policy = credentials.sign_policy(seed, 1, [])
    for good, read in ((text, credentials.verify), (joined, credentials.verify)):
        assert read(good, authority, UNIX_S)
        for variant in variants(good):
            with pytest.raises(CredentialError):
                read(variant, authority, UNIX_S)
    for variant in variants(policy):
        with pytest.raises(CredentialError):
            credentials.verify_policy(variant, authority)


def test_two_redemptions_of_one_invitation_by_one_key_are_one_identity() -> None:
    world = World({"a": None, "b": None})
    seed, private = world.network.authority_private, RNG(32)
    join_key = credentials.invite(seed, "b", ["10.77.0.2/16"], server="s0", not_after=UNTIL_S, rng=RNG)
    text = credentials.redeem(join_key, keys.public(private))
    # The holder of an invitation can sign as many texts as he likes: with another spelling of the same key, say.
    body = {"kind": "joined", "key": keys.encode(keys.public(private)), "salt": 1}
    other = credentials.sign_link(body, credentials._unb64(join_key.split(":")[0])) + "/" + text.split("/")[1]
    world.start("a")
    world.start("b", config=world.config("b", private_key=private, certificate=text))
    world.run(3.0)
    before = peer(world, "a", "b")
    session = before.session.current
    assert world.nodes["a"].peers.admit(other, world.now) is before
    assert before.session.current is session is not None


def pair() -> World:
    world = World({"a": "symmetric", "b": "symmetric"})
    world.start_all()
    world.run(3.0)
    return world


def reissue(world: World, name: str, private: bytes | None = None, *, issued: int) -> str:
    return credentials.issue(
        world.network.authority_private,
        name,
        keys.public(private or world.network.private_keys[name]),
        [world.network.addresses[name]],
        not_after=UNTIL_S,
        issued=issued,
        rng=RNG,
    )


def introduce(world: World, text: str) -> None:
    """Somebody who has only a certificate's text introduces himself by it."""
    server = server_of(world)
    server.receive(
        introduction.write(text, server.tunnel.static.public, Macs(server.tunnel.static.public), RNG, world.now),
        ("66.6.6.6", 6666),
        world.now,
    )
    world._settle_server("s0")


def delivered(world: World, count: int = 100) -> int:
    """How many of so many relayed packets arrive."""
    world.received["b"].clear()
    for number in range(count):
        world.send("a", "b", bytes([number]))
        world.run(0.02)
    world.run(0.5)
    return len(world.received["b"])


def test_introductions_without_the_key_lose_nobody_a_packet() -> None:
    world = pair()
    old, new = reissue(world, "b", issued=5), reissue(world, "b", issued=2 * UNTIL_S)
    foreign = reissue(world, "b", RNG(32), issued=2 * UNTIL_S)
    before = registration(world, "b")
    world.received["b"].clear()
    for number in range(100):
        for text in (old, new, foreign, variants(world.network.certificates["b"])[0]):
            introduce(world, text)
        world.send("a", "b", bytes([number]))
        world.run(0.02)
    world.run(0.5)
    assert len(world.received["b"]) == 100
    assert registration(world, "b") is before
    assert before.certificate.text == world.network.certificates["b"]
    world.run(30.0)
    assert len(server_of(world).tunnel.sessions) == 2  # who does not come is forgotten


def test_a_newer_certificate_counts_when_its_key_has_come_and_an_older_one_never_again() -> None:
    world = pair()
    private, old = RNG(32), world.network.certificates["b"]
    text = reissue(world, "b", private, issued=UNTIL_S)
    world.start("b", config=world.config("b", private_key=private, certificate=text))
    world.run(4.0)
    assert registration(world, "b").certificate.text == text
    assert peer(world, "a", "b").session.remote == keys.public(private)
    assert delivered(world, 20) == 20
    # The old key, which somebody has kept, is still good for the cipher; it is not for the name.
    introduce(world, old)
    server_says(world, "a", told(world, old))
    world.run(3.0)
    assert registration(world, "b").certificate.text == text
    assert peer(world, "a", "b").session.remote == keys.public(private)
    assert any("older" in event for event in world.events if " s0: " in event)
    assert any("older" in event for event in world.events if " a: " in event)
    assert delivered(world, 20) == 20


@pytest.mark.parametrize("private", [None, RNG(32)], ids=["same key", "another key"])
def test_who_takes_anothers_place_under_another_name_leaves_no_ghost(private: bytes | None) -> None:
    world = pair()
    text = credentials.issue(
        world.network.authority_private,
        "b2",
        keys.public(private or world.network.private_keys["b"]),
        [world.network.addresses["b"]],
        not_after=UNTIL_S,
        issued=UNTIL_S,
        rng=RNG,
    )
    changes = {"certificate": text} | ({"private_key": private} if private is not None else {})
    world.start("b", config=world.config("b", **changes))
    world.run(4.0)
    assert [r.certificate.name for r in server_of(world).registry.by_key.values()] == ["a", "b2"]
    log = server_of(world).herald.log
    told_of = "".join(entries for _, _, entries in log.batches(0, log.revision))
    assert text in told_of
    assert world.network.certificates["b"] not in told_of


def told(world: World, *texts: str, online: bool = True) -> bytes:
    """Return an UPDATE of the server about members with these certificates."""
    link = world.nodes["a"].servers.links[0]
    entry: dict[str, Any] = {"candidates": [], "relay": 4711, "online": online, "direct": True, "hub": False}
    body = {"seq": 0, "epoch": link.epoch, "from": link.rev, "to": link.rev + 1, "you": None, "relay": 1, "hub": False}
    body["entries"] = [entry | {"certificate": text} for text in texts]
    return control.json_frame(control.UPDATE, body)


def sessions(world: World) -> list[Session]:
    return [each.session for each in world.nodes["a"].peers.by_key.values() if each.session.current is not None]


def test_a_server_replaces_no_peer_by_telling_of_another_text_or_key() -> None:
    world = pair()
    before = sessions(world)
    assert len(before) == 1
    texts = [variants(world.network.certificates["b"])[0], reissue(world, "b", issued=1)]
    texts += [reissue(world, "b", RNG(32), issued=i) for i in (1, UNTIL_S + 1)]
    for text in texts:
        server_says(world, "a", told(world, text, online=False))
        world._settle_node("a")
    assert sessions(world) == before
    address = world.overlay_address("b")
    owner = world.nodes["a"].plane.routes.owner(bytes(map(int, address.split("."))))
    assert owner is not None
    assert owner.session is before[0]
    # The newer key's claim waits for its handshake; the relay number of the mutated text was not taken either.
    assert [p.contested for p in world.nodes["a"].peers.by_key.values()] == [False, True]
    world.run(20.0)
    assert delivered(world, 20) == 20


def test_a_renewed_certificate_of_the_same_key_keeps_the_session() -> None:
    world = pair()
    before = sessions(world)
    text = reissue(world, "b", issued=UNTIL_S)
    server_says(world, "a", told(world, text))
    assert sessions(world) == before
    certificate = peer(world, "a", "b").certificate
    assert certificate is not None
    assert certificate.text == text
    server_says(world, "a", told(world, world.network.certificates["b"]))
    assert peer(world, "a", "b").certificate is certificate


def test_two_members_exchange_their_addresses_and_nobody_is_lost() -> None:
    """Each newer certificate came while the other member still had the address: it was never taken."""
    world = World({"a": None, "b": None, "c": None})
    world.start_all()
    world.run(3.0)
    addresses = world.network.addresses
    texts = {
        name: credentials.issue(
            *(world.network.authority_private, name, peer(world, "a", name).session.remote, [addresses[other]]),
            not_after=UNTIL_S,
            issued=UNTIL_S,
            rng=RNG,
        )
        for name, other in (("b", "c"), ("c", "b"))
    }
    for text in texts.values():
        server_says(world, "a", told(world, text))
    node = world.nodes["a"]
    world._settle_node("a")

    def owners() -> list[str]:
        found = (node.plane.routes.owner(packets.packed_host(addresses[name])) for name in "bc")
        return [owner.name if owner is not None else "" for owner in found]

    assert owners() == ["b", "c"]  # until their keys have come
    assert world.run(3.0, lambda: owners() == ["c", "b"])
    held = {p.name: p.certificate.text for p in node.peers.by_key.values() if p.certificate is not None}
    assert held == texts
    assert not any(p.contested or p.successor for p in node.peers.by_key.values())


def test_somebody_elses_address_is_not_taken_by_an_older_certificate_with_another_name() -> None:
    world = pair()
    private = RNG(32)
    text = credentials.issue(
        world.network.authority_private,
        "c",
        keys.public(private),
        [world.network.addresses["b"]],
        not_after=UNTIL_S,
        issued=1,
        rng=RNG,
    )
    introduce(world, text)
    server_says(world, "a", told(world, text))
    assert [p.name for p in world.nodes["a"].peers.by_key.values()] == ["b"]
    assert server_of(world).registry.by_address[world.overlay_address("b")].certificate.name == "b"
