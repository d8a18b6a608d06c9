"""The search for the largest packet; no namespaces, no programs."""

from __future__ import annotations

import pytest

from harness.probes.mtu import Fate, PathMtu, Patience, patience_for, search


@pytest.mark.parametrize("carried", [576, 577, 1000, 1279, 1280, 1419])
@pytest.mark.parametrize(("fate", "black_hole"), [("lost", True), ("refused", False)])
def test_the_largest_packet_is_found_whatever_it_is(carried: int, fate: Fate, black_hole: bool) -> None:
    tried: list[int] = []

    def fate_of(size: int) -> Fate:
        tried.append(size)
        return "arrived" if size <= carried else fate

    assert search(1420, fate_of) == PathMtu(1420, carried, black_hole)
    assert len(tried) <= 12  # as own_time_s of the probe counts on


def test_an_honest_interface_takes_one_ping() -> None:
    tried: list[int] = []
    assert search(1420, lambda size: tried.append(size) or "arrived") == PathMtu(1420, 1420, False)  # type: ignore[func-returns-value]
    assert tried == [1420]


def test_a_path_that_carries_nothing_has_no_mtu() -> None:
    assert search(1500, lambda _: "lost") == PathMtu(1500, None, True)
    assert search(576, lambda _: "refused") == PathMtu(576, None, False)


def test_waits_follow_the_round_trip_and_attempts_the_loss() -> None:
    assert patience_for(3, 1.0, 10, [0.02] * 10) == Patience(3, 1.0)
    assert patience_for(3, 1.0, 10, [1.2] * 10) == Patience(3, pytest.approx(3.6))  # type: ignore[arg-type]
    lossy = patience_for(3, 1.0, 10, [0.02] * 4)  # 20 % on four crossings
    assert 0.6**lossy.attempts <= 1e-3 < 0.6 ** (lossy.attempts - 1)
    assert patience_for(3, 1.0, 10, []).attempts == 31
    assert patience_for(20, 9.0, 10, [0.02] * 9) == Patience(20, 9.0)
