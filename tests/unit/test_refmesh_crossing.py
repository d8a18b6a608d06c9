"""What changes while something else is under way: networks, certificates, rules, mappings, servers that start again."""

from __future__ import annotations

import dataclasses

import pytest
from refmesh_hostility import peer, registration
from refmesh_roaming import Roaming

from overlays.refmesh import credentials
from overlays.refmesh.core.access import Access, parse_rules
from overlays.refmesh.core.server_link import UNLISTED_S
from overlays.refmesh.credentials import Certificate
from overlays.refmesh.errors import ConfigError
from overlays.refmesh.simulation.world import UNIX_S, World
from overlays.refmesh.wire import messages


@pytest.mark.parametrize("change", ["router", "interface"])
def test_a_move_is_not_taken_for_a_mapping_that_depends_on_the_destination(change: str) -> None:
    """Where STUN had seen us before stayed for up to 25 s: 256 sockets were opened against a NAT that needs none."""
    world = Roaming({"a": "port-restricted", "b": "symmetric"}, servers=2, delay_s=0.02)
    world.start_all()
    world.run(10.0)
    servers = world.nodes["a"].servers
    assert not servers.dependent
    (world.router_moves if change == "router" else world.interface_moves)("a")
    seen = {link.seen_as for link in servers.links}
    world.run(20.0, lambda: seen.isdisjoint({link.seen_as for link in servers.links}))
    assert world.run(0.5, lambda: not servers.dependent and None not in {link.mapped for link in servers.links})
    for _ in range(100):
        world.run(0.1)
        assert not servers.dependent


def test_an_answer_that_was_asked_for_elsewhere_says_nothing_of_where_we_are() -> None:
    world = Roaming({"a": "port-restricted", "b": None}, delay_s=0.2)
    world.start_all()
    world.run(0.3)  # STUN's answer is on its way
    link = world.nodes["a"].servers.links[0]
    transaction = link._stun
    assert transaction
    world.interface_moves("a")
    world.nodes["a"].servers.on_stun(transaction, ("45.0.9.9", 1), world.now)
    assert link.mapped is None
    assert link.seen_as is None
    assert world.run(1.0, lambda: link.mapped is not None)


def renewed(world: World, name: str, **changes: object) -> Certificate:
    """Return a newer certificate of a node, for the same key."""
    old = world.nodes[name].certificate
    assert old is not None
    fields = {"addresses": old.addresses, "groups": old.groups, "issued": old.issued + 1} | changes
    text = credentials.issue(
        *(world.network.authority_private, name, old.key),
        not_after=old.not_after + 10**6,
        rng=world.rng.randbytes,
        **fields,  # type: ignore[arg-type]
    )
    return credentials.verify(text, world.authority, UNIX_S)


def take(world: World, name: str, certificate: Certificate) -> None:
    """Let a node read a configuration with this certificate."""
    node = world.nodes[name]
    node.reload(dataclasses.replace(node.config, certificate=certificate.text), certificate, world.now)
    world._settle_node(name)


def test_a_certificate_that_is_renewed_while_a_handshake_is_under_way_is_told() -> None:
    world = World({"a": None, "b": None}, delay_s=0.1)
    world.start_all()
    world.run(3.0)
    world.nodes["a"].servers.links[0].peer.session.want(world.now)
    world.nodes["a"].tick(world.now)
    world._settle_node("a")
    world.run(0.05)  # the introduction by the old one is on its way
    new = renewed(world, "a")
    take(world, "a", new)
    assert world.run(UNLISTED_S + 2.0, lambda: registration(world, "a").certificate == new)
    assert world.run(2.0, lambda: peer(world, "b", "a").certificate == new)


def test_a_renewed_certificate_whose_introduction_is_lost_is_told_all_the_same() -> None:
    world = World({"a": None, "b": None})
    world.start_all()
    world.run(3.0)
    new = renewed(world, "a")
    world.internet.drops = lambda packet: messages.message_type(packet.payload) == messages.INTRODUCTION
    take(world, "a", new)
    world.run(1.0)
    world.internet.drops = None
    assert registration(world, "a").certificate != new
    assert world.run(UNLISTED_S + 1.0, lambda: registration(world, "a").certificate == new)
    # And once it has been told nothing more is asked.
    established_s = registration(world, "a").session.established_s
    world.run(100.0)
    assert registration(world, "a").session.established_s == established_s


def test_a_renewed_certificate_with_other_groups_has_their_rules_at_once() -> None:
    world = World({"a": None, "b": None})
    rules = [{"from": "web", "to": "b", "protocol": "udp", "ports": "2000"}]
    world.policy = credentials.sign_policy(world.network.authority_private, 2, rules)
    for server in list(world.servers):
        world.start_server(server)
    world.start_all()
    world.run(3.0)
    world.send("a", "b", b"not yet")
    world.run(1.0)
    assert not world.received["b"]
    take(world, "a", renewed(world, "a", groups=("web",)))
    world.run(3.0)
    world.send("a", "b", b"now")
    world.run(1.0)
    assert [packet[-3:] for packet in world.received["b"]] == [b"now"]


def test_a_certificate_with_other_addresses_needs_a_new_start() -> None:
    world = World({"a": None, "b": None})
    world.start_all()
    with pytest.raises(ConfigError, match="certificate: has changed, which needs a new start"):
        take(world, "a", renewed(world, "a", addresses=("10.77.9.9/16",)))


def packet(source: int, destination: int, protocol: int = 6) -> bytes:
    """Return an IPv4 packet with these ports."""
    head = bytes([0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2])
    return head + source.to_bytes(2, "big") + destination.to_bytes(2, "big") + bytes(16)


def test_a_new_network_document_cuts_no_flow_that_it_allows() -> None:
    """A server that has something to say after a pause was refused until the client spoke, which it need not do."""
    rule = {"from": "a", "to": "b", "protocol": "tcp", "ports": "80"}
    other = {"from": "b", "to": "a", "protocol": "udp", "ports": "53"}
    client, server = (Access(parse_rules([rule]), (own,), (peer,)) for own, peer in ("ab", "ba"))
    assert client.outbound(packet(1000, 80), 0.0)
    assert server.inbound(packet(1000, 80), 0.0)
    for rules, passes in (([other, rule], True), ([other], False)):
        newer = [Access(parse_rules(rules), (own,), (peer,)) for own, peer in ("ab", "ba")]
        for after, before in zip(newer, (client, server), strict=True):
            after.inherit(before)
        assert newer[1].outbound(packet(80, 1000), 60.0) is passes
        assert newer[0].inbound(packet(80, 1000), 60.0) is passes
    assert not newer[0].outbound(packet(1000, 80), 60.0)


def test_members_take_over_flows_with_a_newer_network_document() -> None:
    world = World({"a": None, "b": None})
    rule = {"from": "a", "to": "b", "protocol": "udp", "ports": "2000"}
    for version in (2, 3):
        policy = credentials.sign_policy(world.network.authority_private, version, [rule])
        if version == 2:
            world.policy = policy
            for server in list(world.servers):
                world.start_server(server)
            world.start_all()
            world.run(3.0)
            world.send("a", "b", b"question")
            world.run(1.0)
        else:
            for node in world.nodes.values():
                node.peers.set_policy(policy)
    to_us = next(iter(world.nodes["b"].peers.by_key.values())).access
    assert to_us is not None
    assert len(to_us._theirs) == 1


def test_a_server_that_starts_again_relays_to_nobody_by_an_old_number() -> None:
    world = World({"a": "symmetric", "b": "symmetric"})
    world.start_all()
    world.run(5.0)
    world.stop("b")
    world.start_server("s0")
    epoch = world.nodes["a"].servers.links[0].epoch
    assert peer(world, "a", "b").online[0]
    assert world.run(40.0, lambda: world.nodes["a"].servers.links[0].epoch != epoch)
    assert peer(world, "a", "b").online == {}
    assert peer(world, "a", "b").finder.relays == ()  # type: ignore[union-attr]


def test_who_was_away_when_its_server_started_again_is_not_sought_for_ever() -> None:
    world = World({"a": None, "b": None})
    world.start_all()
    world.run(3.0)
    world.stop("b")
    world.run(100.0)
    assert not peer(world, "a", "b").wanted
    world.start_server("s0")
    world.run(60.0)
    assert world.nodes["a"].ready
    assert not peer(world, "a", "b").wanted
