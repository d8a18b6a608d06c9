"""Several sockets are hit by birthday probing: none is closed while the peer may aim at it."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from overlays.refmesh.core.check import Path
from overlays.refmesh.core.connectivity import PathFinder
from overlays.refmesh.core.handover import CLOSE_AFTER_S, MAX_SPARES, QUIET_AFTER_S, Handover
from overlays.refmesh.core.puncher import MAX_LOCALS
from overlays.refmesh.driver import sockets
from overlays.refmesh.simulation.world import World

THERE = ("45.0.0.1", 40000)


@pytest.mark.parametrize("seed", [32, 37, 0, 1, 2])
def test_what_is_sent_on_any_path_that_was_found_arrives(seed: int) -> None:
    """With the first two seeds the two ends take different paths, each of them valid."""
    world = World({"a": "port-restricted", "b": "symmetric"}, seed=seed, jitter_s=0.02, delay_s=0.05)
    world.start_all(apart_s=0.1)
    assert world.run(15.0, lambda: set(world.paths()) == {"direct"})
    end = world.now + CLOSE_AFTER_S + 1.0
    number = 0
    while world.now < end:
        for src, dst in (("a", "b"), ("b", "a")):
            payload = f"{number} {src}".encode()
            world.send(src, dst, payload)
            came = world.run(0.5, lambda dst=dst, payload=payload: arrived(world, dst, payload))  # type: ignore[misc]
            assert came, f"{payload!r} at {world.now:.2f} s"
            assert set(world.paths()) == {"direct"}
            assert sum(len(node.puncher._open) for node in world.nodes.values()) <= 1 + MAX_SPARES
        number += 1
        world.run(0.5)
    assert [len(node.puncher._open) for node in world.nodes.values()] == [0, 1]


def arrived(world: World, name: str, payload: bytes) -> bool:
    """Return whether this is the last that a node's host got."""
    return any(packet.endswith(payload) for packet in world.received[name][-1:])


def test_two_ends_that_use_a_socket_of_each_other_do_not_fall_silent_at_once() -> None:
    for first, quiet_at in ((True, 0.0), (False, QUIET_AFTER_S)):
        subject, finder = heard_on(7)
        assert subject.step(finder, Path(THERE), [5, 7], first=first, now=0.0) == {0, 7}
        if quiet_at:
            assert not subject.quiet
            assert Path(THERE, 0, 7) in finder.checks
        assert subject.step(finder, Path(THERE), [7], first=first, now=quiet_at) == {0, 7}
        assert subject.quiet == {7}
        assert Path(THERE, 0, 7) not in finder.checks
        assert subject.step(finder, Path(THERE), [7], first=first, now=CLOSE_AFTER_S) == {0}
        assert not subject.quiet


def test_sockets_that_are_open_besides_are_few_and_the_last_heard() -> None:
    subject, finder = heard_on(*range(1, 10))
    kept = subject.step(finder, Path(THERE, 0, 1), range(1, 300), first=True, now=9.0)
    assert kept == {1, 7, 8, 9}
    assert len(kept) == 1 + MAX_SPARES < MAX_LOCALS
    # A path that becomes the one in use stays, and the one before it goes as the others do.
    assert subject.step(finder, Path(THERE, 0, 9), sorted(kept), first=True, now=10.0) >= {1, 7, 8, 9} - {1}


def test_no_path_is_left_whose_socket_is_closed() -> None:
    """It would have opened the socket anew, for good: nobody closes a number twice."""
    subject, finder = heard_on(*range(1, 10))
    kept = subject.step(finder, Path(THERE, 0, 1), range(1, 300), first=False, now=9.0)
    assert {path.local for path in finder.checks} <= kept


def test_a_socket_that_is_closed_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World({"a": None, "b": None})
    world.start_all()
    node = world.nodes["a"]
    opened: list[object] = []
    monkeypatch.setattr(
        sockets, "UdpSocket", lambda *_, **__: opened.append(1) or SimpleNamespace(send=lambda *_: None)
    )
    monkeypatch.setattr(sockets, "open_sockets", lambda *_: {})
    loop: Any = SimpleNamespace(add=lambda *_: None, remove=lambda *_: None)
    driver = sockets.NodeSockets(node, loop, None, 0, on_readable=lambda *_: True, on_near=lambda *_: True)  # type: ignore[arg-type]
    node.outbox.main.clear()
    node.puncher._open.add(7)
    for local, count in ((7, 1), (8, 1)):
        node.outbox.fresh.append((local, b"check", THERE))
        driver.flush()
        assert len(opened) == count


def test_a_lost_path_ends_the_silence() -> None:
    subject, finder = heard_on(7)
    subject.step(finder, Path(THERE), [7], first=True, now=0.0)
    assert subject.quiet == {7}
    subject.end()
    assert not subject.quiet
    assert subject.deadline() == float("inf")


def heard_on(*sockets: int) -> tuple[Handover, PathFinder]:
    """Return what a peer was heard on, each a second after the one before."""
    finder = PathFinder(random.Random(1).randbytes, direct=True, relayed=True)
    for number in sockets:
        finder.on_ping(Path(THERE, 0, number), float(number))
    return Handover(), finder
