"""What leaves a router, and what it hairpins, found on a machine that delivers some packets late."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from harness.model.nat import Egress, Hairpinning
from harness.nat import discovery_tcp, egress
from harness.nat.packet import Endpoint

RETRANSMIT_S = 0.2
NEVER = float("inf")


class Slow:
    """A discovery setup by a clock: UDP is answered, and a connection open, so long (s) after it was asked for."""

    def __init__(self, udp_s: float, open_s: dict[int, float]) -> None:
        self.now_s, self._udp_s, self._open_s = 0.0, udp_s, open_s
        self.retransmit_s, self.wire, self.primary = RETRANSMIT_S, self, Endpoint("45.45.0.1", 3478)
        self.strangers = [SimpleNamespace(address="45.45.0.3")]
        self.inside = [SimpleNamespace(address="10.0.0.2"), SimpleNamespace(address="10.0.0.3")]

    def pump(self, until: Callable[[], bool], timeout_s: float) -> bool:
        end_s = self.now_s + timeout_s
        while not until() and self.now_s < end_s:
            self.now_s += 0.001
        return until()

    def until(self, condition: Callable[[], bool]) -> bool:
        return self.pump(condition, 2.0)

    def send(self, _bound: object) -> Any:
        return Asked(self, self._udp_s, "answer")

    def call(self, to: Endpoint) -> Any:
        return Asked(self, self._open_s[to.port], "open")

    def open(self) -> None:
        """Open nothing."""

    def close(self, _bound: object) -> None:
        """Close nothing."""

    forget = close


class Asked:
    """A question whose answer comes in time: `answer` of a request, `state` of a connection."""

    def __init__(self, setup: Slow, took_s: float, said: str) -> None:
        self._setup, self._due_s, self._said = setup, setup.now_s + took_s, said
        self.mapped, self.bound = Endpoint("45.45.1.1", 5000), None

    @property
    def answer(self) -> str | None:
        return self._said if self._setup.now_s >= self._due_s else None

    @property
    def state(self) -> str:
        return self.answer or "waiting"


@pytest.fixture(autouse=True)
def _no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery_tcp, "listener", lambda *_: None)
    monkeypatch.setattr(discovery_tcp, "hang_up", lambda *_: None)
    monkeypatch.setattr(discovery_tcp, "port_of", lambda _: 5000)
    monkeypatch.setattr(discovery_tcp, "connected", lambda setup, _place, to: setup.call(to))
    monkeypatch.setattr(discovery_tcp, "call", lambda setup, _place, to, _port=0: setup.call(to))


@pytest.mark.parametrize(
    ("udp_s", "tcp_s", "found", "took_s"),
    [
        (0.0, 0.0, Egress.ANY, 0.0),
        (0.05, 0.0, Egress.ANY, 0.05),
        (NEVER, 0.0, Egress.NO_UDP, RETRANSMIT_S),
        (NEVER, 0.05, Egress.NO_UDP, RETRANSMIT_S),
        (NEVER, NEVER, Egress.TCP_443, RETRANSMIT_S),
    ],
)
def test_what_comes_late_leaves_all_the_same(udp_s: float, tcp_s: float, found: Egress, took_s: float) -> None:
    setup: Any = Slow(udp_s, {3478: tcp_s, egress.TLS_PORT: 0.0})
    assert egress.egress_test(setup) is found
    assert setup.now_s == pytest.approx(took_s, abs=0.002)


@pytest.mark.parametrize(
    ("open_s", "found", "took_s"),
    [
        (0.0, Hairpinning.EXTERNAL_SOURCE, 0.0),
        (0.05, Hairpinning.EXTERNAL_SOURCE, 0.05),
        (NEVER, Hairpinning.OFF, RETRANSMIT_S),
    ],
)
def test_a_hairpinned_call_that_is_answered_late_is_one(open_s: float, found: Hairpinning, took_s: float) -> None:
    setup: Any = Slow(0.0, {3478: 0.0, 5000: open_s})
    assert discovery_tcp.tcp_hairpinning_test(setup) is found
    assert setup.now_s == pytest.approx(took_s, abs=0.002)
