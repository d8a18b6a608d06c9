"""How soon a question is answered again after hosts, routers or servers have changed; the clock is the world's.

The bounds are what the rules say: 1 s of silence before a path is doubted, three checks in 0.7 s before it is lost.
"""

from __future__ import annotations

import json

import pytest
from refmesh_roaming import Roaming

from overlays.refmesh.server.known import known, restore
from overlays.refmesh.simulation.world import ip_packet

PAIRS = {
    "public": (None, None),
    "one behind a NAT": (None, "port-restricted"),
    "direct": ("full-cone", "port-restricted"),
    "punched": ("port-restricted", "port-restricted"),
    "relayed": ("symmetric", "symmetric"),
}
CHANGES = ("router", "interface", "both")
DELAY_S = 0.02


def world_of(pair: str, seed: int = 1) -> Roaming:
    a, b = PAIRS[pair]
    world = Roaming({"a": a, "b": b}, delay_s=DELAY_S, seed=seed)
    world.start_all()
    world.run(30.0)
    assert set(world.paths()) == {"relayed" if pair == "relayed" else "direct"}
    return world


@pytest.mark.parametrize("who_asks", ["ab", "ba"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("pair", PAIRS)
def test_after_a_change_of_addresses(pair: str, change: str, who_asks: str) -> None:
    world = world_of(pair)
    if change != "interface":
        if world.nats["a"] is None:
            return
        world.router_moves("a")
    if change != "router":
        world.interface_moves("a")
    assert world.recovery_s(*who_asks) < 2.5
    # The path becomes as good as it was, and nothing stays lost.
    world.run(10.0)
    assert set(world.paths()) == {"relayed" if pair == "relayed" else "direct"}
    assert world.recovery_s(*who_asks[::-1]) < 0.3


@pytest.mark.parametrize("who_asks", ["ab", "ba"])
@pytest.mark.parametrize("seconds", [5.0, 600.0, 3 * 3600.0])
@pytest.mark.parametrize("pair", PAIRS)
def test_after_sleep(pair: str, seconds: float, who_asks: str) -> None:
    world = world_of(pair)
    world.sleep("a", seconds)
    # Who was awake may have seen the other one go, and waits to hear of it.
    assert world.recovery_s(*who_asks) < (1.0 if who_asks == "ab" else 2.5)


@pytest.mark.parametrize("phase_s", range(0, 20, 4))
@pytest.mark.parametrize("remembers", [True, False])
@pytest.mark.parametrize("pair", PAIRS)
def test_after_a_restart_of_the_server(pair: str, remembers: bool, phase_s: int) -> None:
    world = world_of(pair)
    world.run(phase_s)
    server = world.servers["s0"]
    assert server is not None
    stored = json.loads(json.dumps(known(server)))
    world.start_server("s0")
    server = world.servers["s0"]
    assert server is not None
    if remembers:
        assert len(stored) == 2
        restore(server, stored, world.now)
        world._settle_server("s0")
    # A server that remembers nobody is found by each end at its next greeting.
    limit_s = 0.2 if pair != "relayed" else 1.0 if remembers else 16.0
    assert world.recovery_s("a", "b") < limit_s


@pytest.mark.parametrize("stored", [None, {}, [5], [{}], [{"certificate": "x", "endpoint": ["1.2.3.4", 5]}]])
def test_a_server_does_not_trip_over_its_memory(stored: object) -> None:
    world = world_of("public")
    server = world.servers["s0"]
    assert server is not None
    before = len(server.registry.by_key)
    restore(server, stored, world.now)
    assert len(server.registry.by_key) == before


@pytest.mark.parametrize("dead_s", [600.0, 3600.0])
@pytest.mark.parametrize("pair", PAIRS)
def test_after_all_servers_were_dead(pair: str, dead_s: float) -> None:
    """Past REKEY_AFTER_TIME and REJECT_AFTER_TIME: direct pairs do not notice, others wait for the next attempt."""
    world = world_of(pair)
    world.stop_server("s0")
    world.run(dead_s)
    if pair != "relayed":
        assert world.recovery_s("a", "b") < 0.2
    world.start_server("s0")
    assert world.recovery_s("a", "b") < (17.0 if pair == "relayed" else 0.2)
    world.run(20.0)
    assert all(node.ready for node in world.nodes.values())


def test_a_router_that_moves_while_all_servers_are_dead() -> None:
    for pair in ("one behind a NAT", "direct"):
        world = world_of(pair)
        world.stop_server("s0")
        world.run(200.0)
        mover = "b" if pair == "one behind a NAT" else "a"
        if pair == "direct":
            world = Roaming({"a": "port-restricted", "b": "full-cone"}, delay_s=DELAY_S)
            world.start_all()
            world.run(30.0)
            world.stop_server("s0")
            world.run(200.0)
        world.router_moves(mover)
        other = "b" if mover == "a" else "a"
        assert world.recovery_s(mover, other) < 4.0


def test_two_ends_on_different_paths_do_not_check_all_the_time() -> None:
    """Each takes the path that is best for it; that the other one's comes another way is seldom a reason to look."""
    world = world_of("public")
    a, b = world.nodes["a"], world.nodes["b"]
    (to_b,), (to_a,) = a.peers.by_key.values(), b.peers.by_key.values()
    assert to_a.finder is not None
    assert to_b.session.current is not None
    before = sum(check.answered for check in to_a.finder.checks.values())
    packet = ip_packet(world.overlay_address("a"), world.overlay_address("b"), b"by another way")
    for _ in range(600):
        (message,) = to_b.session.current.seal_many([packet])
        b.ingress.receive(message, ("45.0.77.1", 9), world.now)
        world._settle_node("b")
        world.run(0.1)
    assert sum(check.answered for check in to_a.finder.checks.values()) - before <= 60 / 5 + 60 / 15 + 3
    assert len(to_a.finder.checks) <= 6
