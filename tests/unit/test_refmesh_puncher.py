"""When a node punches, and to how many at once."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

from overlays.refmesh.core.connectivity import HOST, PLAIN_TRIES, SERVER_REFLEXIVE, PathFinder
from overlays.refmesh.core.puncher import MAX_ASKED, Puncher
from overlays.refmesh.core.punching import ROUND_S, START_AFTER_S

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
    assert finder.tried()
    assert not finder.translated
    finder.add(("45.9.1.2", 4000), HOST, 0.0)
    now = 0.0
    for _ in range(PLAIN_TRIES):
        assert not finder.tried()
        now = finder.deadline()
        assert finder.due(now)
    assert finder.tried()
    assert now < START_AFTER_S
    finder.add(("45.9.1.1", 4000), SERVER_REFLEXIVE, now)
    assert finder.translated
    assert not finder.tried()


class Peerlike:
    """Something that rounds can be kept for."""

    def __init__(self, number: int) -> None:
        self.number = number
