"""What the underlay carries for each useful byte, from what its links carried."""

from __future__ import annotations

import pytest

from harness.link.accounting import DirectionCounts
from harness.probes.overhead import summarise_overhead


def test_the_overhead_counts_each_packet_once_where_it_leaves_the_site() -> None:
    def carried(octets: int, packets: int) -> dict[str, DirectionCounts]:
        up = DirectionCounts(sent=packets, sent_bytes=octets + 14 * packets)
        return {"up": up, "down": DirectionCounts(sent=99, sent_bytes=99_000)}

    links = {"ra-inet": carried(11_000, 10), "rb-inet": carried(500, 5), "s-inet": carried(4000, 4)}
    links["a-lan"] = carried(11_000, 10)
    found = summarise_overhead(links, 10_000, members={"ra-inet", "rb-inet"}, server={"s-inet"})
    assert {one.metric: one.value for one in found} == {
        "underlay_bytes_per_byte": pytest.approx(1.15),
        "underlay_packets_per_mb": pytest.approx(1500),
        "server_bytes_per_byte": pytest.approx(0.4),
    }
    assert not list(summarise_overhead(links, 0, members={"ra-inet"}, server=set()))
    assert not list(summarise_overhead(links, 10_000, members=set(), server=set()))
    assert not list(summarise_overhead(links, 10_000, members={"ra-inet", "an ideal one"}, server=set()))
