"""refmesh's sessions over simulated NATs: packets both ways, what loss does, and what the death of servers does."""

from __future__ import annotations

import pytest
from refmesh_pair import pair

from harness.model.nat import NatBehaviour
from overlays.refmesh.simulation.world import World


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


def test_members_that_go_away_do_not_have_the_others_sent_keepalives_more_often() -> None:
    world = World(dict.fromkeys("abcd", "port-restricted"))
    world.start_all()
    world.run(60.0)
    before_s = world.nodes["a"].lifetime.interval_s
    for name in "bc":
        world.stop(name)
        world.run(120.0)
    assert world.path("a", "d") == "direct"
    assert world.nodes["a"].lifetime.interval_s >= before_s


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
