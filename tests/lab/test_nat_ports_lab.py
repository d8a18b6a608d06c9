"""External ports of real routers: as wide as declared, evenly spread, and written with a right checksum."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest

from harness.calibration.nat_ground import PORTS
from harness.model.nat import parse_nat
from harness.nat.ports import FIRST_PORT, PORT_COUNT, port_blocks
from tests.lab.nat_sandbox import each_in_sandbox

pytestmark = pytest.mark.lab

# A test of a fair router fails once in two million.
SURE = 5.0


def deviation(seen: Iterable[int], bins: int, ports: int, batch: int) -> float:
    """Pearson's chi-square against an even spread over the bins, in standard deviations (Fisher's approximation).

    A router gives none of its `ports` twice before it forgets, after each `batch`: that spreads them more evenly than
    independent draws would be, by the finite population correction.
    """
    count = Counter(seen)
    assert set(count) <= set(range(bins))
    expected = count.total() / bins
    chi2 = sum((count[n] - expected) ** 2 / expected for n in range(bins)) * (ports - 1) / (ports - batch)
    return math.sqrt(2 * chi2) - math.sqrt(2 * bins - 3)


def drawn(*calls: tuple[Any, str, int, int]) -> list[list[int]]:
    """Return the ports of each call of `drawn_ports`: NAT, protocol, flows, batch."""
    found = each_in_sandbox(("drawn_ports", *call) for call in calls)
    for (*_, flows, _batch), seen in zip(calls, found, strict=True):
        assert seen["wrong_checksum"] == 0
        assert len(seen["ports"]) == flows
    return [seen["ports"] for seen in found]


@pytest.mark.parametrize(
    ("protocol", "flows"),
    [
        ("udp", 30_000),
        ("tcp", 10_000),
        pytest.param("udp", 100_000, marks=pytest.mark.nightly),
        pytest.param("tcp", 30_000, marks=pytest.mark.nightly),
    ],
)
def test_random_ports_are_spread_evenly_over_the_whole_range(protocol: str, flows: int) -> None:
    batch = 1000
    (ports,) = drawn(("symmetric", protocol, flows, batch))
    offsets = [port - FIRST_PORT for port in ports]
    assert min(offsets) >= 0
    # By position, and by each half of the bits: a bit that is never set shows in either of them.
    assert abs(deviation((offset // 64 for offset in offsets), PORT_COUNT // 64, PORT_COUNT, batch)) < SURE
    assert abs(deviation((offset % 1024 for offset in offsets), 1024, PORT_COUNT, batch)) < SURE
    # All ports can come: so many different ones are to be expected, give or take.
    expected = PORT_COUNT * -math.expm1(-flows / PORT_COUNT)
    assert abs(len(set(offsets)) - expected) < SURE * math.sqrt(PORT_COUNT)


@pytest.mark.parametrize(("protocol", "size"), [("udp", 512), ("tcp", 999)])
def test_a_block_s_ports_are_spread_evenly_over_the_block(protocol: str, size: int) -> None:
    nat = {"alias": "cgn", "mapping": "APDM", "port_block_size": size}
    block = next(b for b in port_blocks(parse_nat(nat), PORTS) if b.subscriber == "10.45.0.2")
    batch = 50
    (ports,) = drawn((nat, protocol, 10_000, batch))
    assert abs(deviation((port - block.first for port in ports), size, size, batch)) < SURE


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_sequential_ports_follow_one_another(protocol: str) -> None:
    steps = (1, 2, 7, -1, -2)
    nats = [{"alias": "symmetric-sequential", "port_step": step} for step in steps]
    found = drawn(*((nat, protocol, 25_000 // abs(step), 500) for nat, step in zip(nats, steps, strict=True)))
    for step, ports in zip(steps, found, strict=True):
        distances = [later - earlier for earlier, later in pairwise(ports)]
        assert {distance for distance in distances if distance * step > 0} == {step}
        # Longer than the sequence, which begins again once.
        assert sum(distance * step < 0 for distance in distances) == 1, step
