"""An underlay that carries nothing, or stops, is no baseline: each probe that measures it tells by what it found."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.link.accounting import Accounting
from harness.probes.alltoall import Computed, RoundsSettings
from harness.probes.content import Fetched
from harness.probes.contract import Probe
from harness.probes.fairness import Shares
from harness.probes.irtt import Sample
from harness.probes.mpyc_log import Ran, not_done
from harness.probes.mpyc_runs import MpycSettings
from harness.probes.registry import probes
from harness.probes.roundlog import PartyLog, Round
from harness.probes.steady import Reading, Window
from harness.probes.stream import Streamed
from harness.probes.tcpflows import Flow, Throughput
from harness.probes.throughput import Moved

TARGET: Any = SimpleNamespace(src="a", dst="b")


def samples(*rtts_ms: float | None) -> list[Sample]:
    return [Sample(number, number / 100, rtt_ms) for number, rtt_ms in enumerate(rtts_ms)]


def moved(backward_bytes: float) -> Moved:
    return Moved(Throughput(Flow(9.0, 1e6, 1e6, 0), Flow(0.0, backward_bytes, 1e6, 9)), ())


def computed(ends_s: list[float], ended_s: float, lost: tuple[str, ...] = ()) -> tuple[Computed, ...]:
    """Return three rounds to be done in 120 s, of which some ended, in Unix seconds from 100."""
    rounds = tuple(Round(end_s, 1.0, "p2", "p1") for end_s in ends_s)
    accounts = [Reading(at_s, 0, {}, Accounting(backend="x", counts={})) for at_s in (100.0, ended_s)]
    party = PartyLog("p1", 100.0, (), lost, None, None)
    return (Computed("bulk", 3, 100.0, rounds, (party,), Window("x", *accounts), {}, None, "x.csv"),)


def fetched(intact: bool) -> tuple[Fetched, ...]:
    return (Fetched(1_000_000, 0.1, None, 0.5, intact, None),)


CARRIED = {
    "latency": [
        samples(*[1.0] * 50),
        samples(*[1.0] * 30, *[None] * 19),
        samples(*[None, 1.0] * 25),
        samples(1.0, None),
    ],
    "throughput": [moved(1.0)],
    "fairness": [Shares((), "x.json"), Shares((), "x.json", "all sent at once for 1 s alone")],
    "stream": [Streamed((0.1,), (0.1,))],
    "content": [fetched(True)],
    "rounds": [computed([101.0, 102.0, 103.0], 103.1), computed([150.0, 200.0], 221.0)],
    "mpyc": [(Ran("cnn", (20.0,), (1,), "x"),), (Ran("cnn", (25.0, 20.0), (1, 1), "x", not_done(60)),)],
}
DEAD = {
    "latency": [
        (samples(*[None] * 5), "answered none of 5 packets from a to b"),
        (samples(*[1.0] * 10, *[None] * 30), "answered no more after 10 of 40 packets"),
    ],
    "throughput": [(moved(0.0), "carried no TCP from b to a")],
    "fairness": [(Shares((), "x.json", "", ("carried no TCP from a to c",)), "carried no TCP from a to c")],
    "stream": [(Streamed((0.1,), (0.1,), {}, "b to a"), "carried no TCP from b to a")],
    "content": [(fetched(False), "carried 1000000 bytes not whole from a to b")],
    "rounds": [
        (computed([], 221.0), "carried 0 of the 3 rounds of `bulk`"),
        (computed([101.0], 221.0), "carried 1 of the 3 rounds of `bulk`"),
        (computed([101.0, 102.0], 102.5, ("p3",)), "of the 3 rounds of `bulk`: p1 lost p3"),
    ],
    "mpyc": [
        ((Ran("cnn", (20.0,), (1,), "x", not_done(60)),), "carried only 1 runs of `cnn`: not done after 60 s"),
        ((Ran("cnn", (40.0,), (1,), "x", "p2 ended with status 1"),), "p2 ended with status 1"),
    ],
}


def test_each_probe_that_measures_the_underlay_says_when_that_does_not_carry() -> None:
    measuring = {name for name, one in probes().items() if type(one).over_underlay is not Probe.over_underlay}
    assert measuring == CARRIED.keys() == DEAD.keys()


@pytest.mark.parametrize("name", CARRIED)
def test_what_carries_is_told_from_what_does_not(name: str) -> None:
    probe = probes()[name]
    settings = {"rounds": RoundsSettings(), "mpyc": MpycSettings()}.get(name, probe.settings())
    assert [probe.why_no_baseline(TARGET, found, settings) for found in CARRIED[name]] == [None] * len(CARRIED[name])
    for found, said in DEAD[name]:
        assert said in str(probe.why_no_baseline(TARGET, found, settings))
