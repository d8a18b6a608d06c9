"""A pair's endpoints of each kind, and how often a waiting trial uses its paths."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from harness.errors import LabError
from harness.overlay.contract import ContentEndpoint, StreamEndpoint
from harness.probes.contract import Stream, Target
from harness.probes.measurement import figure_of
from harness.scenario.load import load_topology
from harness.trial.keepalive import interval_s

THERE = StreamEndpoint(src="a", dst="b", listen_port=4000, service_port=5000, listen_address="10.0.0.1")
CONTENT = ContentEndpoint(src="a", dst="b", publish=("put", "{file}"), fetch=("get", "{id}", "{file}"))
LOOPBACK = ip_address("127.0.0.1")


def target(**more: Any) -> Target:
    """Return a pair; its lab is never asked."""
    return Target(lab=None, src="a", dst="b", mode="mesh", folder=Path("/nowhere"), **more)  # type: ignore[arg-type]


def test_whoever_has_an_interface_has_streams_to_it() -> None:
    over = target(src_address=ip_address("10.9.0.1"), dst_address=ip_address("10.9.0.2"))
    assert over.kinds == {"interface", "stream"}
    assert over.stream(5201) == Stream("a", "b", ip_address("10.9.0.2"), 5201, ip_address("10.9.0.2"), 5201)
    back = over.reversed()
    assert (back.pair, back.source, back.destination) == (("b", "a"), ip_address("10.9.0.2"), ip_address("10.9.0.1"))


def test_a_stream_leads_one_way_on_ports_of_its_own() -> None:
    over = target(streams={("a", "b"): THERE})
    assert over.kinds == {"stream"}
    assert over.stream(5201) == Stream("a", "b", ip_address("10.0.0.1"), 4000, LOOPBACK, 5000)
    assert over.reversed().kinds == frozenset()
    with pytest.raises(LabError, match="no stream leads from b to a"):
        over.reversed().stream(5201)
    with pytest.raises(LabError, match="b has no interface of the overlay"):
        _ = over.destination


def test_content_is_a_kind_of_its_own() -> None:
    over = target(contents={("a", "b"): CONTENT})
    assert (over.kinds, over.content) == ({"content"}, CONTENT)
    with pytest.raises(LabError, match="no content endpoint leads from b to a"):
        _ = over.reversed().content


@pytest.mark.parametrize(("lifetime_s", "every_s"), [(1, 0.5), (2, 1.0), (300, 1.0)])
def test_paths_are_used_twice_in_the_shortest_lifetime(lifetime_s: int, every_s: float) -> None:
    nat = {"mapping": "EIM", "filtering": "ADF", "udp_lifetime_s": lifetime_s}
    assert interval_s(load_topology("two-sites").resolve({"nat_b": nat})) == every_s


def test_a_figure_has_its_metrics_unit_and_its_pairs_evidence() -> None:
    figure = figure_of(target(), "latency", Path("rtt.csv"))
    one = figure("rtt_p50_ms", 2.0)
    assert (one.probe, one.unit, one.src, one.dst, one.evidence) == ("latency", "ms", "a", "b", "rtt.csv")
    assert figure("loss_ratio", None, Path("other.csv")).evidence == "other.csv"
    of_trial = figure_of(None, "cost")("rss_mib", 1.0)
    assert (of_trial.unit, of_trial.src, of_trial.dst, of_trial.evidence) == ("MiB", None, None, None)
    with pytest.raises(KeyError):
        figure("declared_nowhere", 1.0)
