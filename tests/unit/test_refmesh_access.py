"""Access rules: default deny, both ends, answers to what was allowed, and nothing else."""

from __future__ import annotations

import pytest

from overlays.refmesh import credentials
from overlays.refmesh.core.access import Access, parse_rules
from overlays.refmesh.errors import CredentialError
from overlays.refmesh.simulation.world import World, ip_packet

A, B = "10.77.0.1", "10.77.0.2"


def packet(*ports: int, protocol: int = 6) -> bytes:
    return ip_packet(A, B, bytes(20), protocol=protocol, ports=ports)


def test_no_rule_means_nothing_passes() -> None:
    access = Access((), ("a",), ("b",))
    assert access.closed
    assert not access.outbound(packet(1000, 80), 0.0)
    assert not access.inbound(packet(1000, 80), 0.0)


def test_a_rule_opens_its_port_one_way_and_lets_the_answers_back() -> None:
    rules = parse_rules([{"from": "web", "to": "b", "protocol": "tcp", "ports": "5432, 8000-8010"}])
    access = Access(rules, ("a", "web"), ("b",))
    assert not access.inbound(packet(5432, 1000), 0.0)
    assert access.outbound(packet(1000, 5432), 0.0)
    assert access.inbound(packet(5432, 1000), 1.0)
    assert access.outbound(packet(1000, 8010), 1.0)
    assert not access.outbound(packet(1000, 8011), 1.0)
    assert not access.outbound(packet(1000, 5432, protocol=17), 1.0)
    assert not access.inbound(packet(1000, 5432), 1.0)


def test_answers_are_let_in_only_while_the_flow_lives() -> None:
    access = Access(parse_rules([{"from": "a", "to": "*", "protocol": "udp", "ports": "53"}]), ("a",), ("b",))
    assert access.outbound(packet(1000, 53, protocol=17), 0.0)
    assert access.inbound(packet(53, 1000, protocol=17), 299.0)
    assert not access.inbound(packet(53, 1000, protocol=17), 299.0 + 301.0)


def test_everything_both_ways_is_open_and_one_way_is_not() -> None:
    assert Access(parse_rules([{"from": "*", "to": "*"}]), ("a",), ("b",)).open
    assert not Access(parse_rules([{"from": "a", "to": "b"}]), ("a",), ("b",)).open


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"from": "a"}, "rule 1: to:"),
        ({"from": "a", "to": "b", "port": 5}, "rule 1: port: unknown field"),
        ({"from": "a", "to": "b", "protocol": "tpc"}, "rule 1: protocol:"),
        ({"from": "a", "to": "b", "protocol": "tcp", "ports": "0"}, "rule 1: ports:"),
        ({"from": "a", "to": "b", "protocol": "tcp", "ports": "9-3"}, "rule 1: ports:"),
        ({"from": "a", "to": "b", "ports": "9"}, "need protocol"),
    ],
)
def test_a_wrong_rule_is_named(rule: dict[str, object], text: str) -> None:
    with pytest.raises(CredentialError, match=text):
        parse_rules([rule])


def world_with(rules: list[dict[str, str]], mode: str = "mesh") -> World:
    world = World({"a": "full-cone", "b": "full-cone"}, mode=mode, hub=mode == "hub")
    policy = credentials.sign_policy(world.network.authority_private, 2, rules)
    world.policy = policy
    for server in list(world.servers):
        world.start_server(server)
    world.start_all()
    world.run(3.0)
    return world


@pytest.mark.parametrize("mode", ["mesh", "hub"])
def test_both_ends_enforce_the_rules(mode: str) -> None:
    world = world_with([{"from": "a", "to": "b", "protocol": "udp", "ports": "2000"}], mode)
    world.send("b", "a", b"not allowed to open")
    world.run(0.5)
    assert world.received["a"] == []
    world.send("a", "b", b"allowed")
    world.run(0.5)
    assert world.received["b"][-1].endswith(b"allowed")
    # A sender that does not obey: the receiver drops it all the same.
    for peer in world.nodes["b"].peers.by_key.values():
        peer.access = None
    world.send("b", "a", b"forged")
    world.run(0.5)
    assert world.received["a"] == []


def test_a_newer_network_document_takes_effect_and_revokes() -> None:
    world = world_with([{"from": "*", "to": "*"}])
    serial = world.nodes["b"].certificate.serial  # type: ignore[union-attr]
    policy = credentials.sign_policy(world.network.authority_private, 3, [{"from": "*", "to": "*"}], [serial])
    server = world.servers["s0"]
    assert server is not None
    server.set_policy(credentials.verify_policy(policy, world.authority), world.now)
    world._settle_server("s0")
    world.run(2.0)
    assert not world.nodes["a"].peers.by_key
    world.received["a"].clear()
    world.send("b", "a", b"from the revoked")
    world.run(2.0)
    assert world.received["a"] == []
    assert any("b is revoked" in event for event in world.events)


def test_an_older_network_document_is_not_taken_back() -> None:
    world = world_with([{"from": "*", "to": "*"}])
    node = world.nodes["a"]
    old = credentials.sign_policy(world.network.authority_private, 1, [])
    node.peers.set_policy(old)
    assert node.directory.policy is not None
    assert node.directory.policy.version == 2
