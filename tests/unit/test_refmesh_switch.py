"""Layer 2: frames find their way, broadcast reaches all, and rules that are not open keep frames out."""

from __future__ import annotations

import pytest
from refmesh_world import World

from overlays.refmesh import credentials

MAC = {name: bytes((2, 0, 0, 0, 0, number)) for number, name in enumerate("abc", 1)}
BROADCAST = bytes((255,)) * 6


def frame(src: str, dst: bytes, payload: bytes = b"payload") -> bytes:
    return dst + MAC[src] + b"\x08\x06" + payload


def world_of(mode: str, rules: list[dict[str, str]] | None = None) -> World:
    world = World(dict.fromkeys("abc", "full-cone"), mode=mode, hub=mode == "hub", options={"layer": "l2"})
    if rules is not None:
        world.policy = credentials.sign_policy(world.network.authority_private, 2, rules)
        world.start_server("s0")
    world.start_all()
    world.run(4.0)
    return world


def send(world: World, src: str, data: bytes) -> None:
    world.nodes[src].egress.frame(data, world.now)
    world._settle_node(src)
    world.run(0.3)


@pytest.mark.parametrize("mode", ["mesh", "relay", "hub"])
def test_broadcast_reaches_all_and_what_is_learned_only_one(mode: str) -> None:
    world = world_of(mode)
    send(world, "a", frame("a", BROADCAST))
    assert world.received["b"] == world.received["c"] == [frame("a", BROADCAST)]
    assert world.received["a"] == []
    send(world, "b", frame("b", MAC["a"]))
    assert world.received["a"] == [frame("b", MAC["a"])]
    assert len(world.received["c"]) == 1
    send(world, "a", frame("a", MAC["b"], bytes(1000)))
    assert world.received["b"][-1] == frame("a", MAC["b"], bytes(1000))
    assert len(world.received["c"]) == 1


def test_frames_pass_only_where_everything_is_allowed() -> None:
    world = world_of("mesh", [{"from": "*", "to": "b"}, {"from": "b", "to": "*"}])
    send(world, "a", frame("a", BROADCAST))
    assert world.received["b"] == [frame("a", BROADCAST)]
    assert world.received["c"] == []


def test_what_is_no_frame_is_dropped() -> None:
    world = world_of("mesh")
    send(world, "a", b"short")
    send(world, "a", BROADCAST + BROADCAST + bytes(20))
    assert world.received["b"] == []
