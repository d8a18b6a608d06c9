"""Another configuration while everything goes on: static peers, certificates; and what needs a new start."""

from __future__ import annotations

import dataclasses
import random

import pytest

from overlays.refmesh import credentials, keys
from overlays.refmesh.config import Address, NodeConfig, PeerEntry
from overlays.refmesh.core.node import Node
from overlays.refmesh.errors import ConfigError
from overlays.refmesh.simulation.world import UNIX_S, World


def entry(number: int, **changes: object) -> PeerEntry:
    public = keys.public(bytes([number] * 32))
    return dataclasses.replace(PeerEntry(public, (f"10.0.0.{number}/32",), Address(f"45.0.0.{number}", 7)), **changes)  # type: ignore[arg-type]


def node_with(*peers: PeerEntry) -> Node:
    config = NodeConfig("a.yaml", bytes(range(32)), addresses=("10.0.0.1/24",), peers=peers)
    node = Node(config, None, random.Random(1).randbytes, UNIX_S)
    node.start(0.0)
    return node


def taken(node: Node, *peers: PeerEntry) -> list[str]:
    return node.reload(dataclasses.replace(node.config, peers=peers), None, 1.0)


def destination(number: int) -> bytes:
    return bytes((10, 0, 0, number))


def test_peers_come_and_go_and_those_that_stay_keep_their_keys() -> None:
    node = node_with(entry(2), entry(3))
    stays = node.peers.by_key[entry(2).public_key]
    assert taken(node, entry(2), entry(4)) == ["peers"]
    assert set(node.peers.by_key) == {entry(2).public_key, entry(4).public_key}
    assert node.peers.by_key[entry(2).public_key] is stays
    assert node.plane.routes.find(destination(3)) is None
    assert node.plane.routes.find(destination(4)) is not None
    assert entry(3).public_key not in node.tunnel.sessions


@pytest.mark.parametrize(
    ("change", "same_session"),
    [
        ({"allowed_ips": ("10.0.0.9/32",)}, True),
        ({"persistent_keepalive_s": 5}, True),
        ({"endpoint": Address("45.0.0.99", 9)}, True),
        ({"endpoint": Address("new.example", 9)}, True),
        ({"preshared_key": bytes(range(32))}, False),
    ],
)
def test_a_change_of_a_peer_takes_effect(change: dict[str, object], same_session: bool) -> None:
    node = node_with(entry(2))
    before = node.peers.by_key[entry(2).public_key]
    changed = entry(2, **change)
    assert taken(node, changed) == ["peers"]
    after = node.peers.by_key[entry(2).public_key]
    assert (after.session is before.session) == same_session
    assert after.session.persistent_s == changed.persistent_keepalive_s
    assert after.session.psk == (changed.preshared_key or bytes(32))
    assert changed.endpoint is not None
    if changed.endpoint.host == "new.example":
        node.tick(1.0)
        assert node.hosts.requests == ["new.example"]
    else:
        assert after.path is not None
        assert after.path.endpoint == (changed.endpoint.host, changed.endpoint.port)
    assert (node.plane.routes.find(destination(9)) is after) == ("allowed_ips" in change)


def test_nothing_new_is_nothing_changed() -> None:
    node = node_with(entry(2))
    assert taken(node, entry(2)) == []


@pytest.mark.parametrize("change", [{"mode": "relay"}, {"interface": "x"}, {"private_key": bytes(32)}, {"mtu": 1300}])
def test_what_needs_a_new_start_is_named_and_nothing_is_taken(change: dict[str, object]) -> None:
    node = node_with(entry(2))
    config = dataclasses.replace(node.config, peers=(), **change)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=f"a.yaml:0: {next(iter(change))}: has changed"):
        node.reload(config, None, 1.0)
    assert entry(2).public_key in node.peers.by_key


@pytest.mark.parametrize("mode", ["mesh", "relay"])
def test_a_renewed_certificate_is_taken_by_servers_and_members(mode: str) -> None:
    world = World({"a": None, "b": None, "c": None}, mode=mode)
    world.start_all()
    wanted = "relayed" if mode == "relay" else "direct"
    assert world.run(5.0, lambda: set(world.paths()) == {wanted})
    node = world.nodes["a"]
    old = credentials.verify(world.network.certificates["a"], world.authority, UNIX_S)
    text = credentials.issue(
        world.network.authority_private,
        "a",
        old.key,
        old.addresses,
        not_after=old.not_after + 10**7,
        issued=old.issued + 1,
        rng=world.rng.randbytes,
    )
    new = credentials.verify(text, world.authority, UNIX_S)
    config = dataclasses.replace(node.config, certificate=text)
    assert node.reload(config, new, world.now) == ["certificate"]
    world._settle_node("a")

    def known_by_all() -> bool:
        held = [
            peer.certificate for name in "bc" for peer in world.nodes[name].peers.by_key.values() if peer.name == "a"
        ]
        return [certificate.serial for certificate in held if certificate is not None] == [new.serial] * 2

    assert world.run(5.0, known_by_all)
    assert world.run(5.0, lambda: set(world.paths()) == {wanted})
    # And it counts when the old one, and c's, have long expired.
    world.nodes["b"].set_clock(UNIX_S + 2 * 10**6, world.now)
    world._settle_node("b")
    world.run(5.0)
    assert {peer.name for peer in world.nodes["b"].peers.by_key.values()} == {"a"}
    assert world.path("b", "a") == wanted
