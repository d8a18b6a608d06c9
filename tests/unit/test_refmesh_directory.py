"""The directory reaches every member soon, whatever the network loses and however it changes the order."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refmesh_hostility import peer, registration, server_of, server_says

from overlays.refmesh import credentials, keys
from overlays.refmesh.core.coordination import MAX_SPANS, WINDOW, PolicyParts
from overlays.refmesh.core.spans import gaps, joined
from overlays.refmesh.simulation.world import UNIX_S, World
from overlays.refmesh.wire import control
from overlays.refmesh.wire.bodies import PolicyPart

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)).map(lambda s: (s[0], s[0] + s[1])), max_size=8)


@given(SPANS, st.integers(0, 40), st.integers(0, 40))
def test_spans_are_sets(spans: list[tuple[int, int]], after: int, length: int) -> None:
    covered = {i for start, end in spans for i in range(start + 1, end + 1)}
    assert {i for start, end in joined(spans) for i in range(start + 1, end + 1)} == covered
    missing = set(range(after + 1, after + length + 1)) - covered
    assert {i for start, end in gaps(after, after + length, spans) for i in range(start + 1, end + 1)} == missing


def known(world: World) -> int:
    return sum(len(node.peers.by_key) for node in world.nodes.values())


@pytest.mark.parametrize("jitter_s", [0.0, 0.001, 0.03])
def test_all_know_all_soon_though_updates_overtake_each_other(jitter_s: float) -> None:
    names = [f"n{i}" for i in range(20)]
    world = World(dict.fromkeys(names), jitter_s=jitter_s, mode="hub", hub=True)  # no sessions among them: quick
    world.start_all()
    assert world.run(1.0, lambda: known(world) == 20 * 19)


def members(world: World, count: int) -> list[str]:
    rng = random.Random(1).randbytes
    authority = world.network.authority_private
    return [
        credentials.issue(
            authority,
            f"m{i}",
            keys.public(rng(32)),
            [f"10.77.{1 + i // 250}.{1 + i % 250}/16"],
            not_after=int(UNIX_S) + 10**6,
            rng=rng,
        )
        for i in range(count)
    ]


def test_a_directory_of_500_members_comes_in_seconds_at_five_percent_loss() -> None:
    world = World({"a": None, "b": None}, loss=0.05, jitter_s=0.001)
    world.start("b")
    world.run(2.0)
    log, entry = server_of(world).herald.log, registration(world, "b").entry() | {"online": False}
    for number, text in enumerate(members(world, 500)):
        log.put(f"m{number}", entry | {"certificate": text, "relay": number + 1})
    world.start("a")
    assert world.run(5.0, lambda: len(world.nodes["a"].peers.by_key) == 501)


def test_an_acknowledgement_that_was_lost_is_said_again_when_the_server_tells_again() -> None:
    world = World({"a": None, "b": None})
    world.start_all()
    world.run(2.0)
    herald, node = server_of(world).herald, world.nodes["a"]
    entry = registration(world, "b").entry() | {"online": False}
    for number, text in enumerate(members(world, 60)):
        herald.log.put(f"m{number}", entry | {"certificate": text, "relay": number + 1})
    world.internet.drops = lambda packet: packet.source.address == world.address["a"]
    herald.tell_all(world.now)
    world._settle_server("s0")
    world.run(0.2)  # a window has come by now, and the server does not know
    assert WINDOW <= len(node.peers.by_key) < 61
    world.internet.drops = None
    assert world.run(2.0, lambda: len(node.peers.by_key) == 61)
    world.run(0.5)
    assert node.servers.links[0].greeting.due_s > world.now + 5.0  # and that is the end of it


def update(world: World, start: int, end: int, *entries: object) -> bytes:
    link = world.nodes["a"].servers.links[0]
    body = {"seq": 0, "epoch": link.epoch, "from": start, "to": end, "you": None, "hub": False, "entries": entries}
    return control.json_frame(control.UPDATE, body)


def test_what_comes_early_counts_and_what_was_overtaken_does_not() -> None:
    world = World({"a": None, "b": None})
    world.start_all()
    world.run(2.0)
    link, rev = world.nodes["a"].servers.links[0], world.nodes["a"].servers.links[0].rev
    old, new = (registration(world, "b").entry() | {"relay": number} for number in (111, 222))
    server_says(world, "a", update(world, rev + 10, rev + 20, new))
    assert peer(world, "a", "b").numbers[0] == 222
    assert (link.rev, link.have) == (rev, [(rev + 10, rev + 20)])
    server_says(world, "a", update(world, rev, rev + 10, old))
    assert peer(world, "a", "b").numbers[0] == 222
    assert (link.rev, link.have) == (rev + 20, [])
    for i in range(2 * MAX_SPANS):
        server_says(world, "a", update(world, rev + 30 + 4 * i, rev + 32 + 4 * i))
    assert len(link.have) < MAX_SPANS
    hello = link.hello([], direct=True, hub=False, now=world.now)
    assert hello is not None
    assert json.loads(control.read(hello)[1])["have"] == [list(span) for span in link.have]


def test_parts_of_an_older_network_document_do_not_undo_those_of_a_newer_one() -> None:
    parts = PolicyParts()
    assert parts.add(PolicyPart(5, 0, 2, "new ")) is None
    assert parts.add(PolicyPart(4, 0, 1, "old")) is None
    assert parts.add(PolicyPart(5, 1, 2, "text")) == "new text"
