"""The path verdict from counters and taps: direct, relayed, asymmetric, mixed, none; LAN, hairpin, carrier NAT."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from harness.lab.counters import Flow, parse, since
from harness.model.topology import Topology
from harness.probes.verdict import member_addresses, path_of_burst
from harness.scenario.load import load_topology

BURST = 20_000


def flows(topology: Topology, *crossings: tuple[str, str, str, int]) -> dict[Flow, int]:
    del topology
    return {Flow(segment, IPv4Address(src), IPv4Address(dst)): size for segment, src, dst, size in crossings}


def judge(name: str, *crossings: tuple[str, str, str, int]) -> str:
    topology = load_topology(name).resolve({})
    return path_of_burst(
        flows(topology, *crossings), member_addresses(topology, "a"), member_addresses(topology, "b"), BURST
    )


A, B, RA, RB, S = "192.168.1.2", "192.168.2.2", "45.45.1.1", "45.45.2.1", "45.45.0.10"
DIRECT = [("lan_a", A, RB, 30_000), ("lan_a", RB, A, 30_000), ("lan_b", RA, B, 30_000), ("lan_b", B, RA, 30_000)]
RELAYED = [("lan_a", A, S, 30_000), ("lan_a", S, A, 30_000), ("lan_b", S, B, 30_000), ("lan_b", B, S, 30_000)]


def test_direct_and_relayed() -> None:
    assert judge("two-sites", *DIRECT) == "direct"
    assert judge("two-sites", *RELAYED) == "relayed"


def test_keepalives_to_the_server_do_not_make_a_direct_path_mixed() -> None:
    assert judge("two-sites", *DIRECT, ("lan_a", A, S, 900), ("lan_b", B, S, 900)) == "direct"


def test_one_way_direct_is_asymmetric() -> None:
    one_way = [("lan_a", A, RB, 30_000), ("lan_b", RA, B, 30_000), ("lan_b", B, S, 30_000), ("lan_a", S, A, 30_000)]
    assert judge("two-sites", *one_way) == "asymmetric"


def test_a_direction_of_both_kinds_is_mixed() -> None:
    assert judge("two-sites", *DIRECT, *RELAYED) == "mixed"
    assert judge("two-sites", *DIRECT, RELAYED[0], RELAYED[3]) == "mixed"


def test_too_little_traffic_is_none() -> None:
    assert judge("two-sites", *((segment, src, dst, 1000) for segment, src, dst, _ in DIRECT)) == "none"


def test_a_third_member_that_relays_is_no_direct_path() -> None:
    topology = load_topology("parties").resolve({"n": 3})
    front, other = member_addresses(topology, "p1"), member_addresses(topology, "p2")
    via = flows(
        topology,
        ("lan1", "192.168.1.2", "45.45.3.1", 30_000),
        ("lan1", "45.45.3.1", "192.168.1.2", 30_000),
        ("lan2", "192.168.2.2", "45.45.3.1", 30_000),
        ("lan2", "45.45.3.1", "192.168.2.2", 30_000),
    )
    assert path_of_burst(via, front, other, BURST) == "relayed"


@pytest.mark.parametrize(
    ("to_b", "from_a"), [("192.168.1.3", "192.168.1.2"), ("45.45.1.1", "45.45.1.1")], ids=["LAN", "hairpin"]
)
def test_same_site(to_b: str, from_a: str) -> None:
    a, b = "192.168.1.2", "192.168.1.3"
    crossings = [("lan", a, to_b, 30_000), ("lan", b, from_a if from_a != a else a, 30_000)]
    crossings += [("lan", from_a, b, 30_000), ("lan", to_b, a, 30_000)]
    assert judge("same-site", *dict.fromkeys(crossings)) == "direct"


def test_same_site_relayed_by_the_server() -> None:
    a, b = "192.168.1.2", "192.168.1.3"
    assert judge(
        "same-site", *((("lan", x, S, 30_000)) for x in (a, b)), *((("lan", S, x, 30_000)) for x in (a, b))
    ) == ("relayed")


def test_behind_a_carrier_both_the_cpe_and_the_carrier_stand_for_a_member() -> None:
    for stand_in_b, stand_in_a in (("10.128.2.1", "10.128.1.1"), ("45.45.3.1", "45.45.3.1")):
        crossings = [
            ("lan_a", A, stand_in_b, 30_000),
            ("lan_a", stand_in_b, A, 30_000),
            ("lan_b", B, stand_in_a, 30_000),
            ("lan_b", stand_in_a, B, 30_000),
        ]
        assert judge("cgnat", *crossings) == "direct"


def test_counters_read_nfts_json_and_subtract() -> None:
    text = (
        '{"nftables": [{"metainfo": {}}, {"set": {"name": "internet.v4", "elem": [{"elem": {"val": {"concat": '
        '["45.45.1.1", "45.45.2.1"]}, "counter": {"packets": 3, "bytes": 300}}}]}}]}'
    )
    flow = Flow("internet", IPv4Address(RA), IPv4Address(RB))
    assert parse(text) == {flow: 300}
    assert since({flow: 100}, parse(text)) == {flow: 200}
    assert since(parse(text), parse(text)) == {}
