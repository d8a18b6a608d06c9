"""The burst that a path is judged by, over paths that are long or lose much: who answers at all has a path."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from path_pair import A_OWN, A_PUBLIC, B_OWN, B_PUBLIC, SERVER, A, B, target

from harness.lab.counters import Flow
from harness.model.words import Verdict
from harness.probes import burst
from harness.probes.measurement import Target
from harness.probes.pings import Ping

COUNT = 20
PING_BYTES = 500


class Lossy:
    """A path that answers to those pings whose number `answers` names, `rtt_s` after they were sent."""

    def __init__(self, answers: Sequence[int], rtt_s: float = 0.05, far: Any = B_PUBLIC, near: Any = A_PUBLIC) -> None:
        self.pings: list[Ping] = []
        self.left = 0.0
        self.errors: dict[str, int] = {}
        self.bursts = 0
        self.grown: Counter[Flow] = Counter()
        self._answers, self._rtt_s, self._far, self._near = frozenset(answers), rtt_s, far, near

    def ask(self, count: float, interval_s: float, *, together: bool = False) -> None:
        del interval_s, together
        self.bursts += 1
        for number in range(len(self.pings), len(self.pings) + int(count)):
            # Long ago, so that nobody waits for what was lost.
            sent_s = time.time() - 3600.0
            answered_s = sent_s + self._rtt_s if number in self._answers else None
            self.pings.append(Ping(number, PING_BYTES, sent_s, answered_s))
            self.grown[Flow("lan_a", A_OWN, self._far)] += PING_BYTES  # a request is seen at home, whatever loses it
            if answered_s is not None:
                for flow in (
                    Flow("lan_b", self._near, B_OWN),
                    Flow("lan_b", B_OWN, self._near),
                    Flow("lan_a", self._far, A_OWN),
                ):
                    self.grown[flow] += PING_BYTES

    def close(self) -> None:
        """End nothing."""


def judged(
    path: Lossy, folder: Path, monkeypatch: pytest.MonkeyPatch, while_read: Callable[[], None] = lambda: None
) -> Verdict:
    def read() -> Counter[Flow]:
        seen = Counter(path.grown)
        while_read()
        return seen

    lab = SimpleNamespace(topology=None)
    pair: Target = replace(target(), lab=cast(Any, lab), folder=folder)
    monkeypatch.setattr(burst.counters, "read", read)
    monkeypatch.setattr(burst.counters, "since", lambda before, after: dict(after - before))
    monkeypatch.setattr(burst, "member_addresses", lambda _topology, member: {"a": A, "b": B}[member])
    (verdict,) = burst.judge_together([(pair, path)], COUNT)
    return verdict


@pytest.mark.parametrize(
    ("answers", "bursts"),
    [
        (range(COUNT), 1),
        (range(0, 10_000, 2), 1),  # half
        (range(0, 10_000, 3), 2),  # as 20 % at both sides, each way: 41 % come back
        (range(0, 10_000, 30), 14),
        ((7,), 20),  # one of four hundred
    ],
)
@pytest.mark.parametrize("rtt_s", [0.05, 1.3])
def test_a_burst_goes_on_until_half_of_one_was_answered(
    answers: Sequence[int], bursts: int, rtt_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Lossy(answers, rtt_s)
    assert judged(path, tmp_path, monkeypatch) == "direct"
    assert path.bursts == bursts


def test_a_lossy_path_through_the_server_is_relayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(Lossy(range(0, 10_000, 5), far=SERVER, near=SERVER), tmp_path, monkeypatch) == "relayed"


def test_what_answers_to_nothing_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(Lossy(()), tmp_path, monkeypatch) == "none"


def test_an_answer_that_comes_while_the_counters_are_read_is_not_held_against_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Lossy(range(COUNT // 2))

    def answered() -> None:
        path.pings = [replace(ping, answered_s=ping.answered_s or ping.sent_s + 1.0) for ping in path.pings]

    assert judged(path, tmp_path, monkeypatch, answered) == "direct"


def test_the_last_answers_are_waited_for_as_long_as_the_path_has_needed() -> None:
    def pings(rtt_s: float | None) -> list[Ping]:
        return [Ping(n, PING_BYTES, 0.0, rtt_s) for n in range(5)]

    assert burst.patience_s(pings(None)) == burst.patience_s(pings(0.01)) == 1.0
    assert burst.patience_s(pings(1.3)) == pytest.approx(3.9)
