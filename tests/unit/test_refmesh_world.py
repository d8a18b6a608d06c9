"""refmesh's engines over simulated NATs: who gets a direct path, what loss does, and what the death of servers does."""

from __future__ import annotations

import itertools
import random

import pytest
from refmesh_pair import pair

from harness.model.nat import Mapping, NatBehaviour, PortAllocation
from overlays.refmesh.core.check import Path
from overlays.refmesh.core.connectivity import LOST_AFTER, PathFinder
from overlays.refmesh.simulation.world import World

NATS = ("none", "full-cone", "address-restricted", "port-restricted", "symmetric")
RELAYED = {frozenset({"symmetric"})}
SEEDS = 10


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
    "prediction of ports that descend": (
        PRESERVING_EIM,
        NatBehaviour(mapping=Mapping.APDM, port_allocation=SEQUENTIAL, port_step=-1),
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
