"""refmesh's engines over simulated NATs: who gets a direct path, what loss does, and what the death of servers does."""

from __future__ import annotations

import itertools
import random

import pytest

from harness.model.nat import Mapping, NatBehaviour, PortAllocation
from overlays.refmesh.core.check import Path
from overlays.refmesh.core.connectivity import LOST_AFTER, PathFinder
from overlays.refmesh.simulation.world import World

NATS = ("none", "full-cone", "address-restricted", "port-restricted", "symmetric")
RELAYED = {frozenset({"symmetric"})}
SEEDS = 10


def pair(nat_a: str, nat_b: str, **options: object) -> World:
    nats = {"a": None if nat_a == "none" else nat_a, "b": None if nat_b == "none" else nat_b}
    return World(nats, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("nat_a", "nat_b"), list(itertools.combinations_with_replacement(NATS, 2)))
def test_mesh_is_direct_where_the_nats_let_it_and_relayed_elsewhere(nat_a: str, nat_b: str) -> None:
    expected = "relayed" if frozenset({nat_a, nat_b}) in RELAYED else "direct"
    for seed in range(SEEDS):
        world = pair(nat_a, nat_b, seed=seed, delay_s=0.02, jitter_s=0.01, loss=0.05 * (seed % 2))
        world.start("a")
        world.run(world.rng.random() * 2)
        world.start("b")
        world.run(15.0, lambda world=world: set(world.paths()) == {"direct"})  # type: ignore[misc]
        assert world.paths() == [expected, expected], f"seed {seed}"


FIREWALL = NatBehaviour(mapping=Mapping.NONE)
SEQUENTIAL, RANDOM = PortAllocation.SEQUENTIAL, PortAllocation.RANDOM
PRESERVING_EIM = NatBehaviour()
HARD = {
    "prediction": (PRESERVING_EIM, NatBehaviour(mapping=Mapping.APDM, port_allocation=SEQUENTIAL)),
    "prediction at both ends": (
        NatBehaviour(mapping=Mapping.APDM, port_allocation=SEQUENTIAL, port_step=2),
        NatBehaviour(mapping=Mapping.APDM, port_allocation=SEQUENTIAL),
    ),
    "prediction towards a public host behind a firewall": (
        FIREWALL,
        NatBehaviour(mapping=Mapping.APDM, port_allocation=SEQUENTIAL),
    ),
    "prediction at both ends, the mappings look independent": (
        NatBehaviour(mapping=Mapping.ADM, port_allocation=SEQUENTIAL),
        NatBehaviour(mapping=Mapping.ADM, port_allocation=SEQUENTIAL),
    ),
    "prediction before a router that early packets confuse": (
        NatBehaviour(unsolicited="poisons"),
        NatBehaviour(mapping=Mapping.APDM, port_allocation=SEQUENTIAL),
    ),
    "birthday": (NatBehaviour(mapping=Mapping.APDM, port_allocation=RANDOM), PRESERVING_EIM),
    "prediction, the mapping looks independent": (
        PRESERVING_EIM,
        NatBehaviour(mapping=Mapping.ADM, port_allocation=SEQUENTIAL),
    ),
    "birthday, the mapping looks independent": (
        NatBehaviour(mapping=Mapping.ADM, port_allocation=RANDOM),
        NatBehaviour(port_allocation=RANDOM),
    ),
}


@pytest.mark.parametrize("technique", HARD)
@pytest.mark.parametrize("mode", ["mesh", "direct"])
def test_what_plain_checks_do_not_reach_is_reached_by_prediction_or_birthday(technique: str, mode: str) -> None:
    nat_a, nat_b = HARD[technique]
    for seed in range(4):
        world = World({"a": nat_a, "b": nat_b}, mode=mode, seed=seed, delay_s=0.02)
        world.start_all(apart_s=0.5)
        assert world.run(15.0, lambda world=world: set(world.paths()) == {"direct"}), f"seed {seed}"  # type: ignore[misc]
        world.run(20.0)
        for src, dst in (("a", "b"), ("b", "a")):
            world.send(src, dst, b"through the hole")
            world.run(0.2)
            assert world.received[dst][-1].endswith(b"through the hole")
        # All sockets but the one in use are closed again.
        for node in world.nodes.values():
            assert len(node.puncher._open) <= 1


def test_a_fresh_path_is_tried_for_longer_than_a_long_round_trip() -> None:
    finder = PathFinder(random.Random(1).randbytes, direct=True, relayed=True)
    finder.on_ping(Path(("45.0.0.1", 10006), 0, 4), 0.0)
    ((path, first),) = finder.due(0.0)
    later = []
    for at in range(1, 60):
        if not at % 10:
            finder.on_ping(path, at / 100)  # the peer tries as long; one check of ours for each of its own
        later += finder.due(at / 100)
    assert len(later) > LOST_AFTER
    assert finder.on_pong(first, path, 0.6) == path
    assert finder.best == path


def test_a_lost_answer_of_the_server_is_asked_for_again_though_there_is_news() -> None:
    """News must be acknowledged, and that must not put off the HELLO that still waits for its answer."""
    for seed in range(30):
        world = World({"a": None, "b": None}, seed=seed, delay_s=0.12, loss=0.1)
        world.start_all()
        assert world.run(6.0, lambda world=world: all(node.ready for node in world.nodes.values())), f"seed {seed}"  # type: ignore[misc]


def test_a_node_without_servers_rests_though_it_was_about_to_punch() -> None:
    world = World({"a": HARD["birthday"][0], "b": NatBehaviour(mapping=Mapping.APDM, port_allocation=RANDOM)}, seed=1)
    world.start_all()
    assert world.run(3.0, lambda: any(node.puncher._open for node in world.nodes.values()))
    for server in list(world.servers):
        world.stop_server(server)
    world.run(120.0)
    ticks = []
    for node in world.nodes.values():
        tick = node.tick
        node.tick = lambda now, tick=tick: (ticks.append(now), tick(now))[1]  # type: ignore[method-assign,misc]
    world.run(60.0)
    assert len(ticks) < 60 * 20


def test_no_more_than_a_thousand_tries_a_second() -> None:
    world = World({"a": HARD["birthday"][0], "b": HARD["birthday"][1]}, seed=1)
    world.start_all()
    nat = world.nats["a"]
    assert nat is not None
    arrivals: list[float] = []
    inbound = nat.inbound
    nat.inbound = lambda packet, now: (arrivals.append(now), inbound(packet, now))[1]  # type: ignore[method-assign]
    world.run(10.0)
    assert len(arrivals) > 50
    busiest = max(sum(start <= at < start + 1.0 for at in arrivals) for start in arrivals[::20])
    assert busiest <= 1100


@pytest.mark.parametrize("mode", ["mesh", "direct", "relay"])
def test_packets_arrive_both_ways(mode: str) -> None:
    world = pair("port-restricted", "full-cone", mode=mode)
    world.start_all()
    world.run(3.0)
    world.send("a", "b", b"there")
    world.send("b", "a", b"and back")
    world.run(0.5)
    assert world.received["b"][-1].endswith(b"there")
    assert world.received["a"][-1].endswith(b"and back")


def test_direct_mode_uses_no_relay_even_if_that_means_no_path() -> None:
    world = pair("symmetric", "symmetric", mode="direct")
    world.start_all()
    world.send("a", "b", b"lost")
    world.run(6.0)
    assert world.paths() == ["none", "none"]
    assert world.relayed == 0
    assert world.received["b"] == []


def test_relay_mode_stays_on_the_relay() -> None:
    world = pair("none", "none", mode="relay")
    world.start_all()
    world.run(6.0)
    assert world.paths() == ["relayed", "relayed"]


def test_the_first_packet_goes_over_the_relay_before_a_direct_path_is_found() -> None:
    world = pair("port-restricted", "port-restricted", delay_s=0.05)
    world.start_all()
    assert world.run(3.0, lambda: all(node.ready for node in world.nodes.values()))
    ready_s = world.now
    world.send("a", "b", b"first")
    assert world.run(3.0, lambda: bool(world.received["b"]))
    # 1 RTT of a relayed path (4 x 50 ms) + 300 ms
    assert world.now - ready_s <= 0.2 + 0.3
    assert world.run(3.0, lambda: set(world.paths()) == {"direct"})
    assert world.now - ready_s <= 5 * 0.1 + 0.3


def test_moving_to_the_direct_path_loses_nothing() -> None:
    world = pair("full-cone", "port-restricted", delay_s=0.03)
    world.start_all()
    assert world.run(3.0, lambda: world.path("a", "b") == "relayed")
    for number in range(200):
        world.send("a", "b", number.to_bytes(4, "big"))
        world.run(0.005)
    world.run(1.0)
    assert world.path("a", "b") == "direct"
    assert sorted(packet[-4:] for packet in world.received["b"]) == [n.to_bytes(4, "big") for n in range(200)]


def test_a_direct_session_outlives_all_servers() -> None:
    world = pair("port-restricted", "port-restricted", servers=2)
    world.start_all()
    world.run(3.0)
    for server in list(world.servers):
        world.stop_server(server)
    world.run(300.0)
    world.send("a", "b", b"still here")
    world.run(1.0)
    assert world.received["b"][-1].endswith(b"still here")


def test_a_relayed_session_moves_to_the_other_server_when_its_own_dies() -> None:
    world = pair("symmetric", "symmetric", servers=2)
    world.start_all()
    world.run(3.0)
    first = world.nodes["a"].peers.by_key[world.nodes["b"].tunnel.static.public].path
    assert first is not None
    dead = next(site.name for site in world.network.sites if site.host == first.endpoint[0])
    world.stop_server(dead)
    for _ in range(60):
        world.send("a", "b", b"x")
        world.send("b", "a", b"y")
        world.run(0.1)
    world.received["b"].clear()
    world.send("a", "b", b"over the other")
    world.run(1.0)
    assert world.received["b"]


def test_a_server_that_starts_anew_gets_its_members_back() -> None:
    world = pair("symmetric", "symmetric")
    world.start_all()
    world.run(3.0)
    world.start_server("s0")
    world.run(60.0)
    world.send("a", "b", b"again")
    world.run(1.0)
    assert world.received["b"][-1].endswith(b"again")


def test_a_node_that_starts_anew_is_reached_again() -> None:
    world = pair("port-restricted", "address-restricted")
    world.start_all()
    world.run(3.0)
    world.start("b")
    world.run(5.0)
    world.received["b"].clear()
    world.send("a", "b", b"welcome back")
    world.run(1.0)
    assert world.received["b"]


def test_a_nat_that_forgets_everything_is_survived_within_two_keepalives() -> None:
    world = pair("full-cone", "full-cone")
    world.start_all()
    world.run(3.0)
    nat = world.nats["b"]
    assert nat is not None
    nat.reboot()
    # Nobody can reach b before b itself sends: its keepalives are 15 s (peers) and 20 s (servers) apart.
    for _ in range(300):
        world.send("a", "b", b"x")
        world.run(0.1)
    world.received["b"].clear()
    world.send("a", "b", b"found again")
    world.run(1.0)
    assert world.received["b"][-1].endswith(b"found again")


def test_hub_forwards_what_it_decrypts() -> None:
    world = pair("symmetric", "symmetric", mode="hub", hub=True)
    world.start_all()
    world.run(3.0)
    world.send("a", "b", b"through the hub")
    world.run(1.0)
    assert world.received["b"][-1].endswith(b"through the hub")
    assert world.relayed == 0


def test_an_idle_session_keeps_its_keys_fresh() -> None:
    world = pair("port-restricted", "port-restricted")
    world.start_all()
    world.run(3600.0)
    assert world.paths() == ["direct", "direct"]
    world.send("a", "b", b"after an hour")
    world.run(0.1)
    assert world.received["b"][-1].endswith(b"after an hour")


def test_a_cut_direct_path_falls_back_to_the_relay_at_once() -> None:
    world = pair("full-cone", "full-cone")
    world.start_all()
    world.run(3.0)
    assert world.paths() == ["direct", "direct"]
    world.cut_between = {"45.0.0.1", "45.0.1.1"}
    for _ in range(50):
        world.send("a", "b", b"x")
        world.send("b", "a", b"y")
        world.run(0.1)
    assert world.paths() == ["relayed", "relayed"]
    world.received["b"].clear()
    world.send("a", "b", b"by relay")
    world.run(0.5)
    assert world.received["b"][-1].endswith(b"by relay")
    world.cut_between = set()
    assert world.run(60.0, lambda: set(world.paths()) == {"direct"})


def test_keepalives_adapt_to_a_nat_that_forgets_soon() -> None:
    nat = NatBehaviour(udp_lifetime_s=8)
    world = World({"a": nat, "b": nat})
    world.start_all()
    world.run(600.0)
    # One side is enough: its checks keep both NATs' mappings.
    assert min(node.lifetime.interval_s for node in world.nodes.values()) < 8
    world.events.clear()
    world.run(600.0)
    assert not [event for event in world.events if "is reached" in event]
    assert world.paths() == ["direct", "direct"]


@pytest.mark.parametrize("seed", range(8))
def test_two_ends_in_step_do_not_open_their_nats_for_each_other_for_long(seed: int) -> None:
    nat = NatBehaviour(udp_lifetime_s=8)
    world = World({"a": nat, "b": nat}, seed=seed)
    world.start_all()
    assert world.run(180.0, lambda: min(node.lifetime.interval_s for node in world.nodes.values()) < 8)


def test_keepalives_get_rarer_with_a_patient_nat() -> None:
    world = pair("full-cone", "full-cone")
    world.start_all()
    world.run(1200.0)
    assert max(node.lifetime.interval_s for node in world.nodes.values()) > 50
    assert min(node.lifetime.interval_s for node in world.nodes.values()) > 15
    assert world.paths() == ["direct", "direct"]
