"""The search for the rate without loss, and what iperf3's UDP receiver says; no namespaces, no programs."""

from __future__ import annotations

import pytest

from harness.probes.udp import Try, UdpSettings, highest_rate, parse_udp


@pytest.mark.parametrize("capacity", [3.0, 9.4, 100.0, 730.0])
def test_the_rate_without_loss_is_found_within_the_resolution(capacity: float) -> None:
    def attempt(rate: float) -> Try:
        received = min(rate, capacity)
        return Try(rate, received, 1 - received / rate)

    best, tries = highest_rate(UdpSettings(max_mbit=1000, resolution_percent=5), attempt)
    assert best is not None
    assert 0.94 * capacity <= best.offered_mbit <= capacity
    assert len(tries) <= 12


def test_a_rate_that_is_never_without_loss_is_not_made_up() -> None:
    best, tries = highest_rate(UdpSettings(max_mbit=100), lambda rate: Try(rate, 0.98 * rate, 0.02))
    assert best is None
    assert len(tries) == 12
    allowed, tries = highest_rate(UdpSettings(max_mbit=100, loss_percent=3), lambda rate: Try(rate, 0.98 * rate, 0.02))
    assert allowed is not None
    assert allowed.offered_mbit == 100
    assert len(tries) == 1


def test_what_the_udp_receiver_counted() -> None:
    end = {"sum": {"bits_per_second": 10e6, "packets": 1000, "lost_packets": 100}}
    assert parse_udp({"end": end}, 10.0) == Try(10.0, pytest.approx(9.0), 0.1)
    assert parse_udp({"end": {}}, 10.0) is None
    assert parse_udp({"end": {"sum": {"bits_per_second": 0, "packets": 0, "lost_packets": 0}}}, 10.0) is None
