"""What a node learns of itself comes to its servers, at whatever moment of a greeting it learns it."""

from __future__ import annotations

import pytest
from refmesh_hostility import member_says, registration, server_of, server_says
from refmesh_pair import pair

from overlays.refmesh.core.check import PORT_MAPPED
from overlays.refmesh.core.coordination import HELLO_RETRY_S, OVERTAKEN_S
from overlays.refmesh.core.greeting import NEWS_BURST, NEWS_PER_S, PATIENCE, Greeting
from overlays.refmesh.core.lifetime import Lifetime
from overlays.refmesh.simulation.world import World
from overlays.refmesh.wire import control

# In units of the way to the server and back, since the start: before the HELLO, while it is under way, and answered.
FIRST, SECOND = [["host", "10.0.0.1", 1]], [["host", "10.0.0.2", 2]]
RTT_S = 0.3
MOMENTS = [0.5, 1.01, 1.25, 1.5, 1.75, 1.99, 2.5]


@pytest.mark.parametrize("round_trips", MOMENTS)
def test_what_changes_while_the_first_hello_is_under_way_is_told_after_it(round_trips: float) -> None:
    """A router's answer that came then was never told: with short ways, once in some fifty starts."""
    world = pair("port-restricted", "port-restricted", delay_s=0.05)
    world.start_all()
    world.run(round_trips * 0.1)
    servers = world.nodes["b"].servers
    servers.candidates = [*servers.candidates, (PORT_MAPPED, "45.0.0.99", 50000)]
    servers.greet(world.internet.events.now)
    world.run(2.0)
    (b,) = world.nodes["a"].peers.by_key.values()
    assert b.finder is not None
    assert ("45.0.0.99", 50000) in {check.path.endpoint for check in b.finder.checks.values()}


def greeting() -> Greeting:
    """Return one whose first HELLO has gone out at 0.0 and was answered at 0.1."""
    subject = Greeting(Lifetime())
    subject.begin(0.0)
    assert subject.said(FIRST, RTT_S, 0.0) == (FIRST, False)
    assert subject.answered(1, 0.1)
    return subject


def test_news_is_not_put_off_by_an_answer_that_comes_before_it_has_gone_out() -> None:
    subject = greeting()
    regular_s = subject.due_s
    subject.said(FIRST, RTT_S, regular_s)
    for _ in range(NEWS_BURST):
        subject.news(regular_s + 0.1, up=True)
        subject.said(FIRST, RTT_S, regular_s + 0.1)
    subject.news(regular_s + 0.1, up=True)  # this one must wait
    assert subject.answered(subject.seq, regular_s + 0.2)
    assert regular_s + 0.2 < subject.due_s <= regular_s + 0.1 + 1 / NEWS_PER_S
    assert subject.said(SECOND, RTT_S, subject.due_s) == (SECOND, False)


def test_an_acknowledgement_is_not_put_off_by_an_answer() -> None:
    subject = greeting()
    subject.learned(1.0)
    due_s = subject.due_s
    subject.answered(subject.seq, due_s - 0.001)
    assert subject.due_s == due_s
    assert subject.said(SECOND, RTT_S, due_s) == (FIRST, True)  # it says what was said


def test_much_news_is_no_silence_of_the_server() -> None:
    subject = greeting()
    for number in range(NEWS_BURST):
        now = 1.0 + number / 1000
        subject.news(now, up=True)
        assert subject.said([["host", "10.0.0.3", number]], RTT_S, now) is not None
    assert subject.unanswered == 1
    # The answer to one of them shows that the server is there; only the last one's ends the waiting.
    assert subject.answered(subject.seq - 1, 1.3)
    assert (subject.unanswered, subject.due_s < 2.0) == (1, True)
    assert not subject.answered(subject.seq - 1, 1.3)
    assert subject.answered(subject.seq, 1.31)
    assert (subject.unanswered, subject.due_s > 10.0) == (0, True)


def test_silence_of_the_server_is_not_hidden_by_news() -> None:
    subject, now = greeting(), 1.0
    while now < 30.0:
        subject.news(now, up=True)
        if subject.said([["host", "10.0.0.3", int(now * 10)]], RTT_S, now) is None:
            break
        now += 0.1
    waits_s = [max(retry_s, PATIENCE * RTT_S) for retry_s in (*HELLO_RETRY_S, HELLO_RETRY_S[-1])]
    assert now <= 1.0 + sum(waits_s) + 0.1 * len(waits_s)


def test_a_server_that_tells_of_another_address_each_time_takes_no_other_one_away() -> None:
    world = World({"a": None, "b": None}, servers=2, delay_s=0.2)
    world.start_all()
    world.run(5.0)
    (first, second), rev = world.nodes["a"].servers.links, world.nodes["a"].servers.links[0].rev
    body = {"seq": 0, "epoch": first.epoch, "from": rev, "to": rev, "hub": False, "entries": []}
    for port in range(1, 41):
        server_says(world, "a", control.json_frame(control.UPDATE, body | {"you": ["66.6.6.7", port]}))
        world._settle_node("a")
        world.run(0.01)
        assert second.up
    assert world.run(3.0, lambda: not second.up) is False


def test_a_hello_that_was_overtaken_takes_nothing_back() -> None:
    world = World({"a": None, "b": None})
    world.start_all()
    world.run(3.0)
    number, epoch = registration(world, "a").hello, server_of(world).herald.epoch
    body = {"direct": True, "hub": False, "epoch": epoch, "rev": server_of(world).herald.log.revision, "have": []}
    late = control.json_frame(control.HELLO, body | {"seq": number + 1, "candidates": FIRST, "rev": 0})
    member_says(world, "a", control.json_frame(control.HELLO, body | {"seq": number + 2, "candidates": SECOND}))
    assert member_says(world, "a", late) == []
    assert registration(world, "a").candidates == SECOND
    quiet = body | {"seq": number + 2, "candidates": SECOND, "rev": 0, "quiet": True}
    assert member_says(world, "a", control.json_frame(control.HELLO, quiet)) == []
    assert registration(world, "a").known == body["rev"]
    # Who has started again counts from the beginning, and has new keys; nobody else does for long.
    again = control.json_frame(control.HELLO, body | {"seq": 1, "candidates": FIRST, "epoch": "", "rev": 0})
    assert member_says(world, "a", again) == []
    registration(world, "a").session.established_s = world.now + 0.001
    world.now += 0.002
    assert member_says(world, "a", again)
    assert registration(world, "a").candidates == FIRST
    world.run(OVERTAKEN_S + 0.1)
    member_says(world, "a", control.json_frame(control.HELLO, body | {"seq": 0, "candidates": SECOND}))
    assert registration(world, "a").candidates == SECOND
