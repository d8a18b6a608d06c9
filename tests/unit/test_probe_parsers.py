"""The tools' own output, as they print it, to figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from harness.probes.irtt import Sample, parse_irtt
from harness.probes.latency import summarise_rtt
from harness.probes.loaded_latency import summarise_loaded
from harness.probes.measurement import Target
from harness.probes.oneway import oneway_figures
from harness.probes.ordered import percentile
from harness.probes.tcpflows import Flow, Throughput, parse_iperf3, summarise_throughput
from harness.results.metrics import METRICS

TARGET = Target(lab=cast(Any, None), src="a", dst="b", mode="mesh", folder=Path())


def trip(seq: int, rtt_ns: int | None) -> dict[str, object]:
    delay = {} if rtt_ns is None else {"rtt": rtt_ns}
    return {
        "seqno": seq,
        "lost": "false" if rtt_ns is not None else "true",
        "timestamps": {"client": {"send": {"wall": 1_700_000_000_000_000_000 + seq, "monotonic": 1}}},
        "delay": delay,
    }


def test_irtt_losses_are_samples_without_rtt() -> None:
    samples = parse_irtt({"round_trips": [trip(0, 1_500_000), trip(1, None)]})
    assert [(sample.seq, sample.rtt_ms) for sample in samples] == [(0, 1.5), (1, None)]
    assert samples[0].sent_s == 1_700_000_000.0


def test_irtt_without_any_trip_is_no_sample() -> None:
    assert parse_irtt(json.loads('{"round_trips": null}')) == []


def test_nearest_rank_percentiles() -> None:
    ordered = [float(value) for value in range(1, 101)]
    assert percentile(ordered, 50) == 50
    assert percentile(ordered, 95) == 95
    assert percentile(ordered, 99) == 99
    assert percentile([7.0], 99) == 7.0


def test_iperf3_reads_what_the_receiver_got_and_what_the_sender_sent_again() -> None:
    end = {
        "sum_sent": {"bits_per_second": 2e9, "bytes": 300, "retransmits": 7},
        "sum_received": {"bits_per_second": 1.25e9, "bytes": 250},
        "sum_received_bidir_reverse": {"bits_per_second": 1e6, "bytes": 5},
    }
    assert parse_iperf3({"end": end}) == Flow(1250.0, 250, 300, 7)
    assert parse_iperf3({"end": end}, "_bidir_reverse") == Flow(1.0, 5, 0, None)


def test_iperf3_whose_results_were_lost_is_no_figure() -> None:
    assert parse_iperf3({"end": {}, "error": "unable to receive results"}) is None


def test_one_way_delays_come_with_the_round_trip() -> None:
    one = trip(0, 1_500_000)
    one["delay"] = {"rtt": 1_500_000, "send": 1_000_000, "receive": 400_000}
    sample = parse_irtt({"round_trips": [one]})[0]
    assert (sample.there_ms, sample.back_ms) == (1.0, 0.4)


def test_delay_variation_skips_pairs_with_a_loss() -> None:
    figures = dict(oneway_figures([10.0, 12.0, None, 20.0, 21.0]))
    assert figures == {"owd_p50_ms": 20.0, "ipdv_p50_ms": 1.5}
    assert dict(oneway_figures([None, None])) == {}
    assert dict(oneway_figures([5.0])) == {"owd_p50_ms": 5.0}


def test_pdv_is_above_the_smallest_and_needs_a_hundred_packets() -> None:
    delays = [float(value) for value in range(1, 101)]
    assert dict(oneway_figures(delays))["pdv_p99_ms"] == 98.0
    assert "pdv_p99_ms" not in dict(oneway_figures(delays[:99]))
    assert dict(oneway_figures(delays * 10))["pdv_p999_ms"] == 99.0
    assert "pdv_p999_ms" not in dict(oneway_figures(delays * 9))


def test_a_lost_packet_took_for_ever_and_removes_no_percentile() -> None:

    def figures(*rtts: float | None) -> dict[str, float | None]:
        samples = [Sample(seq, 0.0, rtt, lost=None if rtt else "there") for seq, rtt in enumerate(rtts)]
        return {one.metric: one.value for one in summarise_rtt(TARGET, samples, samples[:1])}

    one_lost = figures(*[float(n) for n in range(1, 100)], None)
    assert (one_lost["rtt_p50_ms"], one_lost["rtt_p95_ms"], one_lost["rtt_p99_ms"]) == (50.5, 95.0, 99.0)
    assert one_lost["rtt_max_ms"] is None and one_lost["loss_ratio"] == pytest.approx(0.01)
    two_lost = figures(*[float(n) for n in range(1, 99)], None, None)
    assert two_lost["rtt_p99_ms"] is None and "rtt_p99_ms" in two_lost
    most_lost = figures(5.0, None, None)
    assert (most_lost["rtt_p50_ms"], most_lost["rtt_min_ms"], most_lost["added_rtt_p50_ms"]) == (None, 5.0, None)
    assert METRICS["rtt_p50_ms"].estimator == METRICS["rtt_p99_ms"].estimator == "censored median"
    assert dict(oneway_figures([1.0] * 98 + [None] * 2))["pdv_p99_ms"] is None


def test_what_was_lost_on_one_way_is_no_delay_of_the_other() -> None:
    samples = [Sample(0, 0.0, 3.0, 1.0, 2.0), Sample(1, 0.0, None, lost="back"), Sample(2, 0.0, None, lost="back")]
    delays = {one.src: one.value for one in summarise_rtt(TARGET, samples, None) if one.metric == "owd_p50_ms"}
    assert delays == {"a": 1.0, "b": None}


def test_the_underlays_median_points_at_the_underlays_samples() -> None:
    samples = [Sample(0, 0.0, 3.0)]
    kept = {one.metric: one.evidence for one in summarise_rtt(TARGET, samples, samples)}
    assert kept["underlay_rtt_p50_ms"] == "underlay-a-b-rtt.csv"
    assert kept["rtt_p50_ms"] == "overlay-a-b-rtt.csv"


def test_loss_is_told_by_the_way_on_which_it_happened() -> None:
    trips = [trip(0, 1_000_000), {**trip(1, None), "lost": "true_up"}, {**trip(2, None), "lost": "true_down"}]
    figures = summarise_rtt(TARGET, parse_irtt({"round_trips": trips}), None)
    lost = {(one.src, one.dst): one.value for one in figures if one.metric == "oneway_loss_ratio"}
    assert lost == {("a", "b"): pytest.approx(1 / 3), ("b", "a"): 0.5}  # of two that got there one came back
    unclear = parse_irtt({"round_trips": [*trips, trip(3, None)]})
    assert "oneway_loss_ratio" not in {one.metric for one in summarise_rtt(TARGET, unclear, None)}


def test_p999_needs_a_thousand_packets() -> None:

    def metrics(count: int) -> dict[str, float | None]:
        samples = parse_irtt({"round_trips": [trip(seq, (seq + 1) * 1_000_000) for seq in range(count)]})
        return {one.metric: one.value for one in summarise_rtt(TARGET, samples, None)}

    assert "rtt_p999_ms" not in metrics(999)
    assert metrics(1000)["rtt_p999_ms"] == 999.0


def test_the_rise_is_over_the_idle_median_of_the_same_trial() -> None:
    idle = [Sample(seq, 0.0, rtt) for seq, rtt in enumerate([10.0, 11.0, 12.0])]
    loaded = [Sample(seq, 0.0, rtt) for seq, rtt in enumerate([40.0, None, 60.0, 50.0])]
    figures = {one.metric: one.value for one in summarise_loaded(TARGET, loaded, idle)}
    assert figures == {
        "loaded_loss_ratio": 0.25,
        "loaded_rtt_p50_ms": 55.0,  # between 50 and 60: the lost one comes last
        "rtt_rise_p50_ms": 44.0,
    }
    assert "rtt_rise_p50_ms" not in {one.metric for one in summarise_loaded(TARGET, loaded, None)}


def test_the_underlays_throughput_points_at_the_underlays_file() -> None:
    over, under = Flow(80.0, 10, 20, 3), Flow(100.0, 30, 40, 0)
    figures = summarise_throughput(TARGET, Throughput(over, over, (over, over)), Throughput(under, under))
    kept = {(one.metric, one.src): (one.value, one.evidence) for one in figures}
    assert kept["underlay_tcp_throughput_mbit", "b"] == (100.0, "underlay-a-b-iperf3-backward.json")
    assert kept["tcp_throughput_ratio", "a"] == (0.8, "overlay-a-b-iperf3-forward.json")
    assert kept["tcp_throughput_both_mbit", "b"] == (80.0, "overlay-a-b-iperf3-both.json")
    assert [kept[name, "a"][0] for name in ("tcp_received_bytes", "tcp_sent_bytes", "tcp_retransmissions")] == [
        10,
        20,
        3,
    ]
