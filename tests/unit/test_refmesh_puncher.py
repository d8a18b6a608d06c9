"""When a node punches, and to how many at once."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

from test_refmesh_scale import NotAll

from overlays.refmesh.core.check import HOST, SERVER_REFLEXIVE, Path
from overlays.refmesh.core.connectivity import PathFinder
from overlays.refmesh.core.handover import Handover
from overlays.refmesh.core.pace import PLAIN_TRIES
from overlays.refmesh.core.puncher import MAX_ANSWERED, MAX_ASKED, TURN_S, TURNS, Puncher
from overlays.refmesh.core.punching import FIRING, MEASURE_S, ROUND_S, START_AFTER_S, WAITING
from overlays.refmesh.wire.bodies import Punch

LINK: Any = SimpleNamespace(index=0, entry=SimpleNamespace(stun=SimpleNamespace(host="45.45.0.10", port=3478)))


def puncher() -> tuple[Puncher, list[int]]:
    """Return a puncher whose key is the lower one, and the sockets from which it has sent."""
    sent: list[int] = []
    return Puncher(random.Random(1).randbytes, lambda local, *_: sent.append(local), lambda _: True), sent


def test_rounds_that_a_node_asks_for_take_turns() -> None:
    subject, sent = puncher()
    peers: list[Any] = [Peerlike(number) for number in range(MAX_ASKED + 2)]
    for peer in peers:
        subject.watch(peer, 0.0)
    for peer in peers:
        subject.tick(peer, LINK, dependent=False, now=START_AFTER_S)
    assert len(sent) == 3 * MAX_ASKED
    later = START_AFTER_S + ROUND_S + 0.01
    for peer in peers:
        subject.tick(peer, LINK, dependent=False, now=later)
    for peer in peers[MAX_ASKED:]:
        subject.tick(peer, LINK, dependent=False, now=later + 1.0)
    assert len(sent) > 3 * MAX_ASKED


def test_who_goes_away_in_the_middle_of_a_round_holds_nobodys_turn() -> None:
    subject, sent = puncher()
    gone: list[Any] = [Peerlike(number) for number in range(MAX_ASKED + MAX_ANSWERED)]
    ask = Punch(1, 1, ask=True, dependent=True, host="", ports=[])
    for peer in gone[:MAX_ASKED]:
        subject.watch(peer, 0.0)
        subject.tick(peer, LINK, dependent=True, now=START_AFTER_S)
    for peer in gone[MAX_ASKED:]:
        subject.on_punch(peer, LINK, ask, dependent=True, now=START_AFTER_S)
    rounds = MAX_ASKED + MAX_ANSWERED
    assert 0 < len(sent) == len(subject._open) <= 3 * rounds
    before, later = len(sent), START_AFTER_S + ROUND_S
    asker: Any = Peerlike(rounds)
    subject.on_punch(asker, LINK, ask, dependent=True, now=later)
    assert len(sent) == before + 3
    asked: Any = Peerlike(rounds + 1)
    subject.watch(asked, later - START_AFTER_S)
    subject.tick(asked, LINK, dependent=True, now=later)
    assert len(sent) == len(subject.closed) + 6 == before + 6


def test_an_answer_to_a_round_that_is_over_is_none_to_the_next() -> None:
    subject, _ = puncher()
    peer: Any = Peerlike(0)
    now = START_AFTER_S
    subject.watch(peer, 0.0)
    for number in (1, 2):
        subject.tick(peer, LINK, dependent=False, now=now)
        assert subject.tick(peer, LINK, dependent=False, now=now + MEASURE_S)["n"] == number  # type: ignore[index]
        now += ROUND_S
        if number == 1:
            subject.tick(peer, LINK, dependent=False, now=now)  # nobody has answered
    late, right = (Punch(1, number, ask=False, dependent=True, host="", ports=[]) for number in (1, 2))
    subject.on_punch(peer, LINK, late, dependent=False, now=now - 1.0)
    assert subject.round_of(peer).state == WAITING
    subject.on_punch(peer, LINK, right, dependent=False, now=now - 1.0)
    assert subject.round_of(peer).state == FIRING


def test_a_round_whose_path_has_just_come_up_is_not_ended_by_anothers_look() -> None:
    """Its sockets were closed, the one in use among them, where a late machine looked at another peer first."""
    subject, _ = puncher()
    found: Any = Peerlike(0)
    other: Any = Peerlike(1)
    subject.watch(found, 0.0)
    subject.watch(other, 0.0)
    subject.tick(found, LINK, dependent=True, now=START_AFTER_S)
    subject.tick(found, LINK, dependent=True, now=START_AFTER_S + MEASURE_S)
    answer = Punch(1, 1, ask=False, dependent=False, host="", ports=[])
    subject.on_punch(found, LINK, answer, dependent=True, now=START_AFTER_S + MEASURE_S)
    assert subject.round_of(found).state == FIRING
    used = max(subject._open)
    found.path = Path(("45.0.1.1", 40000), 0, used)
    subject.tick(other, LINK, dependent=True, now=START_AFTER_S + 10.0)
    assert subject.is_open(used)
    assert found not in subject._asked
    finder = PathFinder(random.Random(1).randbytes, direct=True, relayed=True)
    subject.done(found, finder, START_AFTER_S + 10.1)
    assert subject.is_open(used)
    assert len(subject.round_of(found).locals) == 1


def test_what_one_round_costs_does_not_grow_with_those_that_wait() -> None:
    subject, _ = puncher()
    peers: list[Any] = [Peerlike(number) for number in range(400)]
    for peer in peers:
        subject.watch(peer, 0.0)
    subject._rounds = NotAll(subject._rounds)
    now, looks = START_AFTER_S, 0
    while now < START_AFTER_S + 10.0:
        for peer in peers:
            if subject.deadline(peer) <= now:
                subject.tick(peer, LINK, dependent=False, now=now)
                looks += 1
        subject.on_stun(b"unknown here", ("45.9.9.9", 1), now)
        now += 0.05
    assert looks < 400 + 10 * (TURNS / TURN_S + 10 * MAX_ASKED)


def test_plain_checks_come_first() -> None:
    subject, sent = puncher()
    peer: Any = Peerlike(0)
    subject.watch(peer, 0.0)
    subject.tick(peer, LINK, dependent=False, tried=False, now=START_AFTER_S)
    assert not sent
    subject.tick(peer, LINK, dependent=False, tried=True, now=START_AFTER_S + 1.0)
    assert len(sent) == 3


def test_a_candidate_counts_as_tried_after_so_many_checks() -> None:
    finder = PathFinder(random.Random(1).randbytes, direct=True, relayed=True)
    assert finder.tried(0.0)
    assert not finder.translated
    finder.add(("45.9.1.2", 4000), HOST, 0.0)
    now = 0.0
    for _ in range(PLAIN_TRIES):
        assert not finder.tried(0.0)
        now = finder.deadline()
        assert finder.due(now)
    assert finder.tried(0.0)
    assert now < START_AFTER_S
    finder.add(("45.9.1.1", 4000), SERVER_REFLEXIVE, now)
    assert finder.translated
    assert not finder.tried(0.0)


class Peerlike:
    """Something that rounds can be kept for."""

    def __init__(self, number: int) -> None:
        self.number, self.path, self.handover = number, None, Handover()
        self.seen: dict[int, Any] = {}
