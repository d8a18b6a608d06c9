"""What is done for each message does not grow with the number of members; what is bounded stays so."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refmesh_hostility import peer, registration, server_of, server_says
from test_refmesh_directory import members, update

from overlays.refmesh import credentials, keys
from overlays.refmesh.core import punching
from overlays.refmesh.core.check import HOST, Path
from overlays.refmesh.core.peer import Peer
from overlays.refmesh.core.puncher import MAX_LOCALS, Puncher
from overlays.refmesh.core.schedule import Schedule
from overlays.refmesh.core.session import Session
from overlays.refmesh.core.tunnel import CROWD, Tunnel
from overlays.refmesh.core.upkeep import CHECKS_PER_S
from overlays.refmesh.server.registry import Registration
from overlays.refmesh.simulation.world import UNIX_S, World
from overlays.refmesh.wire import control
from overlays.refmesh.wire.bodies import Punch

MANY = 200


class NotAll(dict[Any, Any]):
    """A table that may be looked into, but not walked through."""

    def _no(self, *_: Any) -> Any:
        raise AssertionError("walks through all")

    __iter__ = keys = values = items = _no


def crowd() -> World:
    """Return a node that knows many, of whom most are not there."""
    world = World({"a": None, "b": None})
    world.start_all()
    world.run(2.0)
    entry, rev = registration(world, "b").entry() | {"online": False, "candidates": []}, 1000
    for number, text in enumerate(members(world, MANY)):
        told = update(world, rev + number, rev + number + 1, entry | {"certificate": text, "relay": number + 1})
        server_says(world, "a", told)
        world.nodes["a"].servers.links[0].have.clear()
    world._settle_node("a")
    world.run(3.0)
    assert len(world.nodes["a"].peers.by_key) == MANY + 1
    return world


def test_a_node_looks_at_those_that_are_due_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = crowd()
    node = world.nodes["a"]
    seen: list[str] = []
    tick = node._upkeep.tick
    monkeypatch.setattr(node._upkeep, "tick", lambda peer, now: (seen.append(peer.name), tick(peer, now)))
    by_key = node.peers.by_key
    node.peers.by_key = NotAll(by_key)
    for _ in range(100):
        world.now += 0.001
        peer_of_b = by_key[world.nodes["b"].tunnel.static.public]
        node.outbox.due(peer_of_b, world.now)
        node.tick(world.now)
    assert seen.count("b") == 100
    assert len(seen) < 100 + MANY


def test_peers_whose_checks_must_wait_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    world = crowd()
    node = world.nodes["a"]
    monkeypatch.setattr(Session, "usable", lambda *_: True)
    monkeypatch.setattr(Session, "sealed", lambda *_, **__: [b"a check"])
    for known in node.peers.by_key.values():
        for port in (1, 2, 3):
            assert known.finder is not None
            known.finder.add(("45.66.6.6", port), HOST, world.now)
        node.outbox.due(known, world.now)
    looks: list[Peer] = []
    tick = node._upkeep.tick
    monkeypatch.setattr(node._upkeep, "tick", lambda peer, now: (looks.append(peer), tick(peer, now)))
    begun_s = world.now
    while world.now < begun_s + 5.0:
        world.now = max(node.deadline, world.now + 0.001)
        node.tick(world.now)
    checks = sum(message == b"a check" for message, _ in node.outbox.main)
    assert checks >= 5.0 * CHECKS_PER_S  # those that wait leave nothing unused
    assert len(looks) < 3 * checks
    assert node.guard.count == 0


def test_a_directory_of_500_comes_without_anybody_walking_through_it() -> None:
    world = World({"a": None, "b": None}, loss=0.05, jitter_s=0.001)
    world.start("b")
    world.run(2.0)
    server, node = server_of(world), world.start("a")
    assert world.run(5.0, lambda: len(node.peers.by_key) == 1)
    entry, log = registration(world, "b").entry() | {"online": False}, server.herald.log
    texts = members(world, 500)
    for number, text in enumerate(texts):
        log.put(f"m{number}", entry | {"certificate": text, "relay": number + 1})
    # Other members, who know it all already.
    for number, text in enumerate(texts):
        certificate = credentials.verify(text, keys.decode(world.network.authority), UNIX_S)
        session = server.tunnel.add(certificate.key)
        server.registry.add(Registration(certificate, session, number + 1, known=log.revision, online=True))
    link, told = node.servers.links[0], Counted(server.outlet, "send")
    for holder, table in (
        (server.registry, "by_key"),
        (server.registry, "by_number"),
        (server.registry, "by_endpoint"),
        (server.tunnel, "sessions"),
        (log, "_entries"),
        (node.peers, "by_key"),
        (node.tunnel, "sessions"),
        (node.plane.routes, "_owners"),
        (node.plane.routes, "_hosts"),
        (node.puncher, "_rounds"),
        (link, "by_number"),
        (link, "told"),
    ):
        setattr(holder, table, NotAll(getattr(holder, table)))
    server.herald.tell_all(world.now)
    world._settle_server("s0")
    assert world.run(8.0, lambda: len(node.peers.by_key) == 501)
    assert (server.guard.count, node.guard.count) == (0, 0)
    # Two that listen: each entry once, and again what was lost.
    assert told.count < 2 * 501 * 1.3
    taken = told.count
    for port in range(20):
        registration_of_b = server.registry.by_name["b"]
        registration_of_b.candidates = [["host", "10.9.9.9", port + 1]]
        server.herald.publish(registration_of_b, world.now)
        world._settle_server("s0")
        world.run(0.01)
    world.run(4.0)
    assert node.peers._by_name["b"].finder.checks.keys() >= {Path(("10.9.9.9", 20))}
    assert (server.guard.count, node.guard.count) == (0, 0)
    assert told.count - taken < 20


class Counted:
    """A method, and how often it is called."""

    def __init__(self, owner: Any, name: str) -> None:
        self.count, self._call = 0, getattr(owner, name)
        setattr(owner, name, self)

    def __call__(self, *arguments: Any) -> Any:
        self.count += 1
        return self._call(*arguments)


def test_told_of_one_a_node_looks_at_that_one() -> None:
    world = crowd()
    node, entry = world.nodes["a"], registration(world, "b").entry()
    told = update(world, 5000, 5001, entry | {"relay": 77})
    node.peers.by_key, node.tunnel.sessions = NotAll(node.peers.by_key), NotAll(node.tunnel.sessions)
    server_says(world, "a", told)
    assert node.guard.count == 0
    assert node.peers.by_key[world.nodes["b"].tunnel.static.public].numbers[0] == 77
    punch = {"from": 77, "n": 1, "ask": True, "dependent": False, "host": "", "ports": []}
    server_says(world, "a", control.json_frame(control.PUNCH, punch))
    assert node.guard.count == 0


def test_a_server_looks_at_those_that_are_due_and_tells_whom_it_has_not_told() -> None:
    world = World({"a": None, "b": None})
    world.start_all()
    world.run(2.0)
    server = server_of(world)
    by_key = server.registry.by_key
    mover = registration(world, "a")
    server.registry.by_key = NotAll(by_key)
    for number in range(20):
        mover.candidates = [["host", "10.9.9.9", number + 1]]
        server.herald.publish(mover, world.now)
        server.tick(world.now)
    assert server.guard.count == 0
    assert not server.herald._idle.keys() & {r for r in dict.values(by_key) if r.news_s < float("inf")}


def test_the_handshakes_under_way_are_counted_as_they_come_and_go() -> None:
    rng = random.Random(1).randbytes
    tunnel = Tunnel(rng(32), rng, 0.0)
    keys_ = [rng(32) for _ in range(5 * CROWD)]
    sessions = [tunnel.add(key) for key in keys_]
    tunnel.sessions = NotAll(tunnel.sessions)
    for session in sessions:
        session.want(0.0)
    assert tunnel.slower() == 5.0
    for key in keys_[: 3 * CROWD]:
        tunnel.remove(key)
    assert tunnel.slower() == 2.0
    sessions[0].want(1.0)  # of one that is gone
    assert tunnel.slower() == 2.0


STEPS = st.lists(
    st.tuples(st.sampled_from(("set", "sooner", "forget", "take")), st.integers(0, 5), st.integers(0, 30)), max_size=80
)


@given(STEPS)
def test_a_schedule_is_a_time_for_each(steps: list[tuple[str, int, int]]) -> None:
    schedule, model, now = Schedule[int](), dict[int, float](), 0.0
    for what, item, at in steps:
        if what == "set":
            schedule.set(item, at)
            model[item] = at
        elif what == "sooner":
            schedule.sooner(item, at)
            model[item] = min(at, model.get(item, float("inf")))
        elif what == "forget":
            schedule.forget(item)
            model.pop(item, None)
        else:
            now = at
            assert sorted(schedule.take(now)) == sorted(i for i, due in model.items() if due <= now)
            model = {i: due for i, due in model.items() if due > now}
        assert schedule.next_s() == min(model.values(), default=float("inf"))
        assert all(schedule.at(i) == model.get(i, float("inf")) for i in range(6))


def test_a_schedule_forgets_times_that_were_changed() -> None:
    schedule = Schedule[str]()
    for number in range(10_000):
        schedule.set("one", 1e6 - number)
    assert len(schedule._heap) < 100


def test_six_hard_peers_get_no_more_sockets_than_a_process_has() -> None:
    puncher = Puncher(random.Random(1).randbytes, lambda *_: None, lambda _: True)
    world = World({"a": "symmetric", "b": "symmetric"})
    world.start_all()
    world.run(2.0)
    known, link = peer(world, "a", "b"), world.nodes["a"].servers.links[0]
    for number in range(6):
        other = Peer(str(number), known.session, (), finder=known.finder)
        other.seen = {0: ("45.0.9.9", 5)}
        asked = Punch(1, 1, ask=True, dependent=False, host="45.0.9.9", ports=[])
        puncher.on_punch(other, link, asked, dependent=True, now=0.0)
        puncher.tick(other, link, dependent=True, now=punching.MEASURE_S)
    assert punching.BIRTHDAY_SOCKETS <= len(puncher._open) <= MAX_LOCALS < 1024 - 64 - 100
