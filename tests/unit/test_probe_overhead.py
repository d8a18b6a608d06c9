"""What the underlay carries for each useful byte, from counters before and after."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from harness.lab.counters import Carried, Flow
from harness.probes.overhead import summarise_overhead


def test_the_overhead_counts_each_packet_once_where_it_leaves_the_site() -> None:
    a, b, s = (IPv4Address(f"192.0.2.{n}") for n in (1, 2, 3))
    before = {Flow("inet", a, b): Carried(1000, 10)}
    after = {
        Flow("inet", a, b): Carried(12_000, 20),
        Flow("inet", b, a): Carried(500, 5),
        Flow("inet", s, a): Carried(4000, 4),
        Flow("lan", a, b): Carried(12_000, 20),
    }
    found = summarise_overhead(before, after, 10_000, members={("inet", a), ("inet", b)}, server={("inet", s)})
    assert {one.metric: one.value for one in found} == {
        "underlay_bytes_per_byte": pytest.approx(1.15),
        "underlay_packets_per_mb": pytest.approx(1500),
        "server_bytes_per_byte": pytest.approx(0.4),
    }
    assert not list(summarise_overhead(before, after, 0, members={("inet", a)}, server=set()))
    assert not list(summarise_overhead(before, after, 10_000, members=set(), server=set()))
