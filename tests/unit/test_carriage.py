"""Which way each ping took: captures of every product on links of known delay, and what they cannot show made up."""

from __future__ import annotations

import gzip
import random
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.lab.capture import read_capture
from harness.lab.tap import Passing, parse
from harness.overlay.registry import load_overlay
from harness.overlay.support import kinds_of
from harness.probes.carriage import Attributed, Carried, attribute, first_direct, learn_framings, verdict_of
from harness.probes.framing import Framing, learn
from harness.probes.pings import Ping, from_csv, sizes, to_csv
from harness.probes.tracks import PairTracks
from harness.probes.verdict import member_addresses
from harness.scenario.load import load_topology

CAPTURES = Path(__file__).parents[1] / "captures"
CASES: dict[str, dict[str, Any]] = yaml.safe_load((CAPTURES / "cases.yaml").read_text())
WITHOUT: dict[str, str] = yaml.safe_load((CAPTURES / "without.yaml").read_text())
OF_A_CASE = "(direct|relayed|relay|hub|birthday)"
# See cases.yaml: what a round trip takes at least, by the links' delays alone.
FLOOR_S = {"direct": 0.016, "asymmetric": 0.036, "relayed": 0.056}


def tracks_of(at_a: list[Passing], at_b: list[Passing]) -> PairTracks:
    topology = load_topology("two-sites").resolve({})
    tracks = PairTracks(member_addresses(topology, "a"), member_addresses(topology, "b"))
    tracks.take(at_a, at_b)
    return tracks


def stored(name: str) -> tuple[PairTracks, list[Ping]]:
    seen: dict[str, list[Passing]] = {"lan_a-eth1": [], "lan_b-eth1": []}
    with gzip.open(CAPTURES / f"{name}.pcapng.gz") as file:
        for interface, stamp_ns, frame in read_capture(file):  # type: ignore[arg-type]
            packet = parse(frame)
            if packet is not None:
                seen[interface].append(Passing(stamp_ns / 1e9, *packet))
    return tracks_of(*seen.values()), from_csv((CAPTURES / f"{name}.csv").read_text())


def test_there_is_a_case_for_each_capture_and_they_stay_small() -> None:
    assert {file.name.split(".")[0] for file in CAPTURES.glob("*.gz")} == CASES.keys()
    assert sum(file.stat().st_size for file in CAPTURES.iterdir()) < 300_000


def test_every_adapter_has_a_capture_or_is_named_as_one_without() -> None:
    project = tomllib.loads((CAPTURES.parents[1] / "pyproject.toml").read_text())["project"]
    installed = set(project["entry-points"]["overlaybench.overlays"])
    captured = {name for name in installed if any(re.fullmatch(f"{name}(-{OF_A_CASE})?", case) for case in CASES)}
    assert captured.isdisjoint(WITHOUT)
    assert captured | set(WITHOUT) == installed, "capture it, or say in without.yaml why there is none"
    for name, reason in WITHOUT.items():
        assert ("no interface" in reason) is ("interface" not in kinds_of(load_overlay(name))), name


@pytest.mark.parametrize("name", CASES)
def test_captures_are_told_right(name: str) -> None:
    case = CASES[name]
    tracks, pings = stored(name)
    attributed = attribute(tracks, pings)
    assert verdict_of(attributed[-20:]) == case["last"]
    first = first_direct(attributed)
    assert (first.seq if first else None) == case.get("first_direct")
    known = learn_framings(tracks, [ping for ping in pings if ping.answered_s is not None])
    for framing, wanted in ((known.direct, "direct"), (known.to_relay, "relay"), (known.from_relay, "relay")):
        if wanted in case:
            assert framing is not None
            assert case[wanted][0] <= framing.least <= framing.most <= case[wanted][1]
    # The second witness: the declared delays know nothing of packets.
    for one in attributed:
        assert (one.ping.rtt_s or 0) >= FLOOR_S.get(one.carried, 0), one
    told = sum(one.carried in FLOOR_S for one in attributed)
    assert told >= 0.8 * len(attributed)


def test_the_rule_of_one_size_would_have_called_tinc_direct_at_once() -> None:
    """Its path MTU probes cross both ports both ways from the start, as large as the old probe's pings could be."""
    tracks, pings = stored("tinc-direct")
    window = pings[0].sent_s, pings[6].answered_s or 0
    assert all(track.bytes_between(*window) > 2000 for leg in (tracks.there, tracks.back) for track in leg.direct)
    first = first_direct(attribute(tracks, pings))
    assert first is not None and (first.answered_s or 0) > pings[6].sent_s


A, B, RA, RB, S = (ip_address(one) for one in ("192.168.1.2", "192.168.2.2", "45.45.1.1", "45.45.2.1", "45.45.0.10"))


class World:
    """Two sites and a server, 10 ms between any two; packets of made-up products, and what taps see of them."""

    def __init__(self) -> None:
        self.at_a: list[Passing] = []
        self.at_b: list[Passing] = []
        self.pings: list[Ping] = []
        self._sizes = sizes(random.Random(7))

    def carry(self, now: float, size: int, *, to_b: bool, direct: bool) -> float:
        delay = 0.01 if direct else 0.02
        here, there = (self.at_a, self.at_b) if to_b else (self.at_b, self.at_a)
        src, dst, own_nat, peer_nat = (A, B, RA, RB) if to_b else (B, A, RB, RA)
        here.append(Passing(now, src, peer_nat if direct else S, size))
        there.append(Passing(now + delay, own_nat if direct else S, dst, size))
        return now + delay

    def ping(self, now: float, there: str, back: str, size: int | None = None, overhead: int = 60) -> None:
        """`there` and `back` name the ways: direct, relayed, or both, of which the direct copy comes first."""
        size = size or next(self._sizes)
        arrived = [self.carry(now, size + overhead, to_b=True, direct=way) for way in WAYS[there]]
        answered = [self.carry(min(arrived), size + overhead, to_b=False, direct=way) for way in WAYS[back]]
        self.pings.append(Ping(len(self.pings), size, now, min(answered)))

    def noise(self, now: float, size: int) -> None:
        """Return the product's own packet, answered by one as large, on the direct path."""
        self.carry(self.carry(now, size, to_b=True, direct=True), size, to_b=False, direct=True)

    def attributed(self) -> list[Attributed]:
        in_order = [sorted(seen, key=lambda one: one.t) for seen in (self.at_a, self.at_b)]
        return attribute(tracks_of(*in_order), self.pings)

    @property
    def carried(self) -> list[str]:
        return [one.carried for one in self.attributed()]


WAYS = {"direct": [True], "relayed": [False], "both": [True, False]}


def test_half_direct_round_trips_are_asymmetric_and_not_direct() -> None:
    world = World()
    for number in range(10):
        world.ping(number * 0.05, "direct", "relayed")
    assert set(world.carried) == {"asymmetric"}
    assert first_direct(world.attributed()) is None
    assert verdict_of(world.attributed()) == "asymmetric"


@pytest.mark.parametrize("probe_bytes", [1056, 940, 400])
def test_a_products_own_probes_make_no_path_direct(probe_bytes: int) -> None:
    world = World()
    for number in range(60):
        world.ping(number * 0.05, "relayed", "relayed")
        for at in (0.001, 0.004, 0.011):
            world.noise(number * 0.05 + at, probe_bytes)
    assert first_direct(world.attributed()) is None
    assert "direct" not in world.carried


def test_probes_of_random_size_make_no_path_direct() -> None:
    world, rng = World(), random.Random(3)
    for number in range(200):
        world.ping(number * 0.05, "relayed", "relayed")
        for _ in range(4):
            world.noise(number * 0.05 + 0.02 * rng.random(), rng.randint(300, 1300))
    assert first_direct(world.attributed()) is None


def test_a_ping_sent_both_ways_counts_when_the_next_certain_one_is_direct() -> None:
    def first(*carried: Carried) -> int | None:
        found = first_direct([Attributed(Ping(n, 500, n, n + 0.02), way) for n, way in enumerate(carried)])
        return found.seq if found else None

    assert first("relayed", "either", "either", "direct") == 1
    assert first("either", "relayed", "either", "unknown", "direct") == 4
    assert first("either", "asymmetric", "relayed", "either") is None


def test_keepalives_and_other_pairs_by_the_relay_do_not_hide_a_direct_path() -> None:
    world, rng = World(), random.Random(5)
    for number in range(40):
        world.ping(number * 0.05, "direct", "direct")
        for _ in range(6):  # a third party's pings by the same server
            world.carry(number * 0.05 + 0.001, rng.randint(300, 1260), to_b=True, direct=False)
            world.carry(number * 0.05 + 0.001, rng.randint(300, 1260), to_b=False, direct=False)
    assert verdict_of(world.attributed()) == "direct"
    first = first_direct(world.attributed())
    assert first is not None and first.seq == 0


def test_batches_and_fragments_are_told_by_what_the_other_way_cannot_have_carried() -> None:
    world = World()
    for number in range(6):
        now = number * 0.05
        for part in (300, 500, 700):  # no size that fits
            world.carry(now, part, to_b=True, direct=True)
            world.carry(now + 0.01, part, to_b=False, direct=True)
        world.carry(now, 60, to_b=True, direct=False)
        world.pings.append(Ping(number, 1200, now, now + 0.02))
    assert set(world.carried) == {"direct"}


def test_what_cannot_be_told_is_not_guessed() -> None:
    world = World()
    for number in range(3):  # too few to learn from, and both ways moved enough
        now = number * 0.05
        for direct in (True, False):
            for to_b in (True, False):
                world.carry(now, 1400, to_b=to_b, direct=direct)
        world.pings.append(Ping(number, 700, now, now + 0.05))
    assert set(world.carried) == {"unknown"}
    assert first_direct(world.attributed()) is None


def test_the_rtt_decides_where_sizes_leave_it_open() -> None:
    world = World()
    for number in range(6):
        world.ping(number * 0.05, "relayed", "relayed")
    for number in range(6, 30):
        world.ping(number * 0.05, "direct", "direct")
    # Sent both ways; the answer is older than the fastest relayed one, so the direct copy cannot have made it.
    world.ping(1.6, "both", "both")
    late = world.pings[-1]
    world.pings[-1] = replace(late, answered_s=late.sent_s + 0.05)
    assert world.carried[-1] == "unknown"
    world.pings[-1] = late
    assert world.carried[-1] == "direct"


def test_an_answer_that_nothing_carried_is_seen_as_such() -> None:
    world = World()
    world.pings.append(Ping(0, 700, 0.0, 0.0001))
    assert world.carried == ["nowhere"]


def test_framing_is_learnt_with_and_without_padding_and_not_from_chance() -> None:
    rng = random.Random(1)
    drawn = sizes(rng)
    seen = [next(drawn) for _ in range(40)]
    assert learn([(size, [size + 52, 1056]) for size in seen]) == Framing(52, 52, 1, 0)
    padded = learn([(size, [-(-(size + 13) // 16) * 16 + 44, 1056]) for size in seen])
    assert padded is not None and padded.step == 16
    assert all(padded.fits(-(-(size + 13) // 16) * 16 + 44, size) for size in range(300, 1200))
    noise = [(next(drawn), [rng.randint(300, 1400) for _ in range(3)]) for _ in range(100)]
    assert learn(noise) is None
    assert learn([(500, [560])] * 3) is None


def test_sizes_are_of_the_trial_and_neighbours_differ_by_more_than_any_padding() -> None:
    def drawn(seed: str) -> Iterator[int]:
        return sizes(random.Random(seed))

    first, again, other = drawn("1"), drawn("1"), drawn("2")
    some = [next(first) for _ in range(300)]
    assert some == [next(again) for _ in range(300)]
    assert some != [next(other) for _ in range(300)]
    assert all(300 <= size <= 1200 for size in some)
    assert all(abs(a - b) > 32 for i, a in enumerate(some) for b in some[i + 1 : i + 10])
    assert len(set(some)) > 200


def test_pings_are_read_as_they_were_written() -> None:
    pings = [Ping(0, 812, 1700000000.125, 1700000000.25), Ping(1, 300, 1700000000.5)]
    assert from_csv(to_csv(pings)) == pings
