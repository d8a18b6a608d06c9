"""What a load costs is what lies between two readings, whatever its beginning and its end were."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harness.lab.process import Usage
from harness.link.accounting import Accounting, DirectionCounts
from harness.probes.cost import summarise_cost
from harness.probes.overhead import carried_in, summarise_edge, summarise_overhead
from harness.probes.steady import Reading, Window, count_of_ways, parse_received, parse_sent, readings_text

SS = """\
ESTAB 1702664 0 [::ffff:10.0.0.1]:5201 [::ffff:10.0.0.2]:43080
      cubic wscale:10,10 rto:204 bytes_received:1365769005 segs_out:3778
ESTAB 0 0 [::ffff:10.0.0.1]:5201 [::ffff:10.0.0.2]:43076
      cubic bytes_sent:4 bytes_acked:4 bytes_received:164 segs_out:6
"""


def reading(at_s: float, received: int, cpu_s: float, sent_bytes: int, packets: int) -> Reading:
    up = DirectionCounts(sent=packets, sent_bytes=sent_bytes + 14 * packets)
    links = {name: {"up": up, "down": DirectionCounts()} for name in ("ra-internet", "rb-internet")}
    usage = {"a": Usage(cpu_s, 12.0), "b": Usage(cpu_s, 30.0)}
    return Reading(at_s, received, usage, Accounting(backend="userlink", counts=links))


def test_sockets_are_summed_as_ss_says_them() -> None:
    assert parse_received(SS) == 1365769005 + 164
    assert parse_received("") == 0


def test_what_was_sent_counts_once_however_often_it_was_sent() -> None:
    assert parse_sent(SS) == 4
    assert parse_sent("ESTAB cubic bytes_sent:5000 bytes_retrans:1400 bytes_acked:3000\n ESTAB bytes_sent:10") == 3610
    assert parse_sent("ESTAB 0 0 cubic bytes_received:7") is None, "a kernel that does not tell"


def test_the_edge_of_a_window_is_what_was_under_way_more_or_less() -> None:
    def window(before: tuple[int, int | None], after: tuple[int, int | None]) -> Window:
        ends = (replace(reading(0, got, 1.0, 0, 0), sent_bytes=sent) for got, sent in (before, after))
        return Window("a b forward", *ends)

    # A queue of 300 kB had filled when the second reading was taken: the links carried that, nobody had it yet.
    filling = window((0, 100_000), (1_000_000, 1_400_000))
    draining = window((0, 400_000), (1_000_000, 1_150_000))
    assert (filling.edge_bytes, draining.edge_bytes) == (300_000, -250_000)
    (edge,) = summarise_edge([filling], "e")
    assert (edge.metric, edge.value) == ("tcp_edge_ratio", pytest.approx(0.3))
    (both,) = summarise_edge([filling, draining], "e")
    assert both.value == pytest.approx(0.025), "the cost is that of all windows together"
    assert not list(summarise_edge([filling, window((0, None), (1, None))], "e"))
    assert not list(summarise_edge([], "e"))


def test_cost_and_overhead_leave_beginning_and_end_of_a_load_out() -> None:
    # Before the first reading slow start had sent 9 MB for 1 MB received; after the second a queue drains.
    steady = Window(
        "a b forward", reading(2.0, 1_000_000, 3.0, 9_000_000, 9000), reading(7.0, 11_000_000, 3.5, 14_500_000, 14000)
    )
    assert steady.moved_bytes == 10_000_000
    figures = {one.metric: one for one in summarise_cost([steady, steady], "overlay-cost.json", peers=3)}
    assert figures["cpu_s_per_gb"].value == pytest.approx(100.0)  # 4 x 0.5 s for 20 MB
    assert (figures["rss_mib"].value, figures["rss_per_peer_mib"].value) == (30.0, 10.0)
    ends = {"members": {"ra-internet", "rb-internet"}, "server": set()}
    over = list(summarise_overhead(carried_in([steady, steady]), 20_000_000, **ends, evidence="overlay-cost.json"))
    assert {one.metric: one.value for one in over} == {
        "underlay_bytes_per_byte": pytest.approx(1.1),
        "underlay_packets_per_mb": pytest.approx(1000),
    }
    assert {one.evidence for one in [*over, *figures.values()]} == {"overlay-cost.json"}


def test_the_raw_readings_are_kept_and_give_the_figures_again() -> None:
    window = Window("a b forward", reading(2.0, 1000, 3.0, 9000, 9), reading(7.0, 11_000, 3.5, 14_500, 14))
    (kept,) = json.loads(readings_text([window]))
    moved = kept["after"]["received_bytes"] - kept["before"]["received_bytes"]
    spent = sum(kept["after"]["usage"][node]["cpu_s"] - kept["before"]["usage"][node]["cpu_s"] for node in "ab")
    assert (moved, spent) == (window.moved_bytes, window.cpu_s)
    assert kept["after"]["links"]["ra-internet"]["up"]["sent"] == 14


def test_a_machine_that_did_nothing_costs_nothing_that_could_be_said() -> None:
    idle = reading(1.0, 0, 1.0, 0, 0)
    assert [one.metric for one in summarise_cost([Window("x", idle, idle)], "e", 1)] == ["rss_mib", "rss_per_peer_mib"]
    assert not list(summarise_cost([], "e", 1))


def test_a_way_that_is_over_is_counted_no_more() -> None:
    control, data, other = "bytes_received:412 a", "bytes_received:2500000 b", "bytes_received:4100000 c"
    assert count_of_ways("\n".join((control, data, other))) == 2
    assert count_of_ways("\n".join((control, other))) == 1
