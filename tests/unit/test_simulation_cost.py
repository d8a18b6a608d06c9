"""What the commonest events of a simulated day cost, in calls: seconds would differ from machine to machine."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Callable
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from harness.model.nat import parse_nat
from harness.simulation.internet import Internet, Link
from overlays.refmesh.core import reflexive
from overlays.refmesh.core.keypair import REJECT_AFTER_S
from overlays.refmesh.core.tunnel import Tunnel
from overlays.refmesh.simulation.crypto import CHEAP
from overlays.refmesh.simulation.world import World


def calls(action: Callable[[], object]) -> int:
    """Return how many functions, in Python and in C, are called meanwhile."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    gc.collect()  # what a collection calls would count, and is what earlier tests have left
    gc.disable()
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(before)
        gc.enable()
    return count


def test_a_look_at_an_idle_peer_is_cheap() -> None:
    """Half of all events of a network over time are such looks, and nearly all find nothing to do."""
    world = World({"a": "port-restricted", "b": "full-cone"})
    world.start_all()
    world.run(31.0)
    node, now = world.nodes["a"], world.now
    (peer,) = node.peers.by_key.values()
    assert peer.path is not None
    assert peer.path.direct
    node.tick(now)
    node.outbox.main.clear()

    def look() -> None:
        peer.due_s = now
        node.tick(now)

    cost = calls(look)
    assert not node.outbox.main
    assert cost <= 110


def test_a_packet_through_two_routers_is_cheap() -> None:
    internet = Internet(random.Random(1))
    came: list[bytes] = []

    def receive(datagram: bytes, _source: tuple[str, int], _port: int) -> None:
        came.append(datagram)

    one, two = (internet.host(internet.router(parse_nat("full-cone"), link=Link(0.01)), receive) for _ in range(2))
    assert two.router is not None
    far = (two.router.tables.addresses[0], 40000)
    assert one.router is not None
    two.send(b"opens", 40000, (one.router.tables.addresses[0], 40000))
    one.send(b"first", 40000, far)
    internet.events.run(1.0)

    def through() -> None:
        one.send(b"second", 40000, far)
        internet.events.run(1.0)

    cost = calls(through)
    assert came[-1] == b"second"
    assert cost <= 80


def test_what_servers_say_of_our_nat_is_found_out_again_when_they_say_something_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link: Any = SimpleNamespace(seen_as=("45.1.0.1", 40000), mapped=("45.1.0.1", 40000))
    found, own = [], [("host", "10.0.0.2", 40000)]
    translated = reflexive.translated
    monkeypatch.setattr(reflexive, "translated", lambda *given: found.append(1) or translated(*given))
    nat = reflexive.Nat([link])
    assert [nat.known(own) for _ in range(3)] == [(False, True)] * 3
    assert len(found) == 1
    link.mapped = ("45.1.0.1", 40001)
    assert nat.known(own) == (True, True)
    own.append(("host", "45.1.0.1", 40000))
    assert nat.known(own) == (True, False)
    link.seen_as = link.mapped = None
    assert nat.known(own) == (False, False)


@pytest.mark.parametrize(
    ("change", "forgets"),
    [
        ({}, False),
        ({"previous": SimpleNamespace(born_s=0.0, local_index=7)}, True),
        ({"unconfirmed": [SimpleNamespace(born_s=0.0, local_index=7)]}, True),
        ({"freed": [7]}, True),
    ],
)
def test_a_session_with_nothing_due_still_loses_its_old_keys(change: dict[str, Any], forgets: bool) -> None:
    tunnel = Tunnel(bytes(32), random.Random(1).randbytes, 0.0, CHEAP)
    session = tunnel.add(bytes(range(32)))
    held: Any = (session, object())
    tunnel._keypairs[7] = held
    for name, value in change.items():
        setattr(session, name, value)
    assert tunnel.tick(session, REJECT_AFTER_S) == (None, None)
    assert (7 not in tunnel._keypairs) is forgets
