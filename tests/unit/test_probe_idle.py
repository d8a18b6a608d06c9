"""What an idle overlay sends, and how often, from what passed a port."""

from __future__ import annotations

from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.lab.process import Usage
from harness.lab.tap import Passing
from harness.probes.contract import Found
from harness.probes.idle import Idle, IdleProbe, IdleSettings, Quiet, busiest_percent, summarise_port

A, S, B = (ip_address(one) for one in ("192.168.1.2", "45.45.0.10", "45.45.2.1"))


def test_the_interval_is_that_of_whom_a_member_sends_to_most_often() -> None:
    seen = []
    for number in range(6):
        seen += [
            Passing(10.0 * number, A, B, 60),
            Passing(10.0 * number + 0.03, A, B, 60),
        ]  # one keepalive
        seen.append(Passing(10.0 * number + 0.05, B, A, 60))
    seen += [Passing(0.0, A, S, 100), Passing(25.0, A, S, 100), Passing(55.0, A, S, 100)]
    seen.append(Passing(1.0, S, B, 999))  # somebody else's
    idle = summarise_port(sorted(seen, key=lambda one: one.t), {A}, 60.0)
    assert idle.interval_s == pytest.approx(10.0)
    assert idle.bytes_per_s == pytest.approx((18 * 60 + 300) / 60)
    assert idle.packets_per_s == pytest.approx(21 / 60)


def test_a_silent_overlay_has_no_interval() -> None:
    assert summarise_port([], {A}, 60.0) == Idle(0.0, 0.0, None)
    assert summarise_port([Passing(1.0, A, S, 50), Passing(9.0, A, S, 50)], {A}, 60.0).interval_s is None


def test_the_busiest_node_counts_and_its_peers_share_it() -> None:
    before = {"a": Usage(1.0, 10.0), "s": Usage(5.0, 20.0)}
    after = {"a": Usage(1.6, 10.0), "s": Usage(5.1, 20.0), "b": Usage(0.3, 9.0)}
    assert busiest_percent(before, after, 60.0) == pytest.approx(1.0)
    assert busiest_percent({}, {}, 60.0) == 0.0
    members = {"a": Idle(10.0, 1.0, 25.0), "b": Idle(30.0, 2.0, 5.0), "c": Idle(20.0, 3.0, None)}
    found = [Found(cast(Any, SimpleNamespace()), Quiet(members, 1.0, 20.0, "idle.json"))]
    figures = {one.metric: one.value for one in IdleProbe().summarise_trial(found, IdleSettings())}
    assert figures == {
        "idle_bytes_per_s": 20.0,
        "idle_packets_per_s": 2.0,
        "keepalive_interval_s": 5.0,
        "idle_cpu_percent": 1.0,
        "idle_cpu_percent_per_peer": 0.5,
        "idle_rss_mib": 20.0,
    }
    assert figures.keys() == {metric.name for metric in IdleProbe.metrics}
