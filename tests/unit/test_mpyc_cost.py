"""What MPyC programs cost an overlay: figures that come of known readings, and what their parties say."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from harness.lab.process import Usage
from harness.link.accounting import Accounting, DirectionCounts
from harness.probes import mpyc_party
from harness.probes.mpyc_log import Ran, Spent, useful_bytes
from harness.probes.mpyc_runs import summarise_program
from harness.probes.steady import Reading, Window
from harness.results.metrics import METRICS

COSTS = ("server_bytes_per_byte", "member_bytes_per_byte", "server_cpu_s", "members_cpu_s")


def ran(useful: int = 2000, why_not: str | None = None) -> Ran:
    """Return two runs in which the server sent 3,000 IP bytes, the members 5,000; s2 is nobody's member."""

    def reading(packets: int, cpu_s: float, useful: int) -> Reading:
        way = {name: DirectionCounts(sent=packets, sent_bytes=packets * (size + 14)) for name, size in SIZES.items()}
        used = {name: Usage(cpu_s * share, 1.0) for name, share in (("p1", 1), ("p2", 2), ("s", 5), ("s2", 100))}
        counts = {name: {"up": one} for name, one in way.items()}
        return Reading(0.0, useful, used, Accounting(backend="x", counts=counts))

    window = Window("x", reading(2, 1.0, 0), reading(12, 1.5, useful))
    places = {"server": frozenset({"s-net"}), "members": frozenset({"r1-net", "r2-net"})}
    spent = Spent(window, places, ("p1", "p2"), "s", "readings.json")
    return Ran("dense", (1.0, 1.0), (500, 500), "log.jsonl", why_not, spent=spent)


SIZES = {"s-net": 300, "r1-net": 200, "r2-net": 300}


def costs(one: Ran) -> dict[str, float | None]:
    found = list(summarise_program(one, None))
    assert {figure.evidence for figure in found if figure.metric.endswith(COSTS)} <= {"readings.json"}
    return {
        figure.metric.removeprefix("mpyc_dense_"): figure.value for figure in found if figure.metric.endswith(COSTS)
    }


def test_bytes_are_for_each_useful_one_and_processors_time_is_that_of_a_run() -> None:
    assert costs(ran()) == pytest.approx(dict(zip(COSTS, (1.5, 2.5, 1.25, 0.75), strict=True)))
    assert all(f"mpyc_dense_{name}" in METRICS for name in COSTS)


def test_nothing_is_told_of_what_was_ended_in_the_middle_and_no_share_of_what_is_unknown() -> None:
    assert costs(ran(why_not="not done after 60 s")) == {}
    assert costs(replace(ran(), spent=None)) == {}
    assert set(costs(ran(useful=0))) == {"server_cpu_s", "members_cpu_s"}


def test_useful_is_what_all_parties_say_that_they_sent() -> None:
    said = [f'{{"elapsed_s": 1, "bytes_sent": 5}}\nWarning\n{{"all_bytes_sent": {count}}}\n' for count in (70, 80)]
    assert useful_bytes(said) == 150
    assert useful_bytes([*said, '{"elapsed_s": 1, "bytes_sent": 5}\n{"all_by']) == 0, "one was ended before"


def test_a_party_begins_when_it_is_told_and_says_what_it_sent_since(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    peer = SimpleNamespace(pid=1, protocol=SimpleNamespace(nbytes_sent=1000))  # of its greeting

    class Mpc:
        """A runtime of two parties."""

        pid, parties = 0, (SimpleNamespace(pid=0), peer)

        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *_: object) -> None: ...

        async def transfer(self, value: bool, senders: int) -> bool:
            assert senders == 0
            peer.protocol.nbytes_sent += 3
            return value

    begun: list[int] = []

    async def send(_mpc: object, size: int) -> None:
        begun.append(size)
        peer.protocol.nbytes_sent += size

    programs: dict[str, Callable[[Any, int], Awaitable[None]]] = {"dense": send}
    monkeypatch.setattr(mpyc_party, "PROGRAMS", programs)

    async def party() -> None:
        work = asyncio.create_task(mpyc_party.compute(Mpc(), "dense", 10, fewest=2, most=2, precision=0.1))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not begun, "it is connected, and waits"
        os.kill(os.getpid(), signal.SIGUSR1)
        await work

    asyncio.run(party())
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [next(iter(one)) for one in said] == ["connected_unix_s", "elapsed_s", "elapsed_s", "all_bytes_sent"]
    assert said[1]["bytes_sent"] == 10 and said[-1]["all_bytes_sent"] == 26, "what is agreed in between is sent, too"
