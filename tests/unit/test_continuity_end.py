"""The end of the continuity probe's traffic: what is still under way then is waited for as long as its path needs."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from harness.probes import burst, traffic
from harness.probes.pings import Ping

PAIR = ("a", "b")


class Path:
    """Pings every 50 ms until `ended_s`, and their answers, by a clock that only sleeping moves."""

    def __init__(self, rtt_s: float, ended_s: float, answered: Callable[[int], bool] = lambda _: True) -> None:
        self.now_s, self._rtt_s, self._answered = ended_s, rtt_s, answered
        self._sent_s = [number * 0.05 for number in range(round(ended_s / 0.05))]
        self.left: float = float("inf")

    @property
    def pings(self) -> list[Ping]:
        trips = [(sent_s, sent_s + self._rtt_s) for sent_s in self._sent_s]
        return [
            Ping(seq, 300, sent_s, back_s if back_s <= self.now_s and self._answered(seq) else None)
            for seq, (sent_s, back_s) in enumerate(trips)
        ]

    def ask(self, count: float, _interval_s: float) -> None:
        self.left = count

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def ended(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[float, float]:
    """Let traffic over a path end; return the share of questions with an answer, and what the wait took, in s."""
    began_s = path.now_s
    clock = SimpleNamespace(time=lambda: path.now_s, sleep=path.sleep)
    for module in (burst, traffic):
        monkeypatch.setattr(module, "time", clock)
    watch: Any = object.__new__(traffic._Watch)
    nothing = SimpleNamespace(close=lambda: None, lost=1)
    watch._askers, watch._targets, watch._tap, watch._stack = (
        {PAIR: path},
        [SimpleNamespace(pair=PAIR)],
        nothing,
        nothing,
    )
    monkeypatch.setattr(traffic._Watch, "note_addresses", lambda _: None)
    ((asked, _),) = watch.end().values()
    assert path.left == 0
    return sum(one.answered_s is not None for one in asked) / len(asked), path.now_s - began_s


@pytest.mark.parametrize("rtt_s", [0.02, 0.6, 1.2, 2.5])
def test_a_path_that_loses_nothing_answers_all_however_long_it_is(
    rtt_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    share, took_s = ended(Path(rtt_s, 6.0), monkeypatch)
    assert share == 1.0
    assert took_s == pytest.approx(max(0.5, rtt_s), abs=0.1)


@pytest.mark.parametrize(("rtt_s", "longest_s"), [(0.02, 1.0), (0.6, 1.8), (5.0, 10.0)])
def test_what_is_lost_is_waited_for_no_longer_than_some_round_trips(
    rtt_s: float, longest_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    share, took_s = ended(Path(rtt_s, 6.0, lambda seq: seq != 119), monkeypatch)
    assert share == pytest.approx(119 / 120)
    assert took_s == pytest.approx(longest_s, abs=0.1)


def test_a_path_that_never_answered_is_given_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    share, took_s = ended(Path(0.02, 6.0, lambda _: False), monkeypatch)
    assert share == 0 and took_s == pytest.approx(1.0, abs=0.1)
