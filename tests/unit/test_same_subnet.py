"""Homes with one and the same private subnet, and the addresses that their baseline has meanwhile."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from harness.errors import ScenarioError
from harness.lab.baseline import added_routes
from harness.model.baseline import baseline_topology, member_lans
from harness.model.topology import Topology
from harness.probes.verdict import member_addresses
from harness.scenario.load import load_topology


def resolved(name: str = "same-subnet", **params: Any) -> Topology:
    return load_topology(name).resolve(params)


def test_a_topology_without_common_subnets_is_its_own_baseline() -> None:
    for name in ("two-sites", "same-site", "cgnat", "parties"):
        plain = resolved(name)
        assert baseline_topology(plain) is plain


def test_each_home_has_a_subnet_of_its_own_meanwhile() -> None:
    plain = resolved()
    meanwhile = baseline_topology(plain)
    a, b = (meanwhile.address(name) for name in ("a", "b"))
    lans = [meanwhile.segments[lan].ipv4 for lan in member_lans(plain)]
    assert [str(lan) for lan in lans] == ["198.18.0.0/23", "198.18.2.0/23"]
    assert lans[0] is not None and lans[1] is not None
    assert a in lans[0] and b in lans[1]
    for name in ("ra", "rb"):
        assert meanwhile.routers[name].outside == plain.routers[name].outside
        assert meanwhile.routers[name].inside[0].addresses != plain.routers[name].inside[0].addresses
    assert meanwhile.hosts["s"] == plain.hosts["s"]
    added = added_routes(meanwhile, "ipv4")
    assert [(route.network, route.gateway) for route in added["ra"]] == [("198.18.2.0/23", "45.45.2.1")]


def test_a_subnet_within_another_is_shared_as_well() -> None:
    parties = load_topology("parties").resolve({"n": 4})
    for lan, subnet in (("lan1", "192.168.0.0/16"), ("lan3", "10.0.0.0/8")):
        segments = {
            **parties.segments,
            lan: parties.segments[lan].model_copy(update={"subnets": (ip_network(subnet),)}),
        }
        parties = parties.model_copy(update={"segments": segments})
    meanwhile = baseline_topology(parties)
    moved = {lan for lan in member_lans(parties) if meanwhile.segments[lan] != parties.segments[lan]}
    assert moved == {"lan1", "lan2", "lan4"}


def test_a_member_is_known_by_both_of_its_addresses() -> None:
    found = member_addresses(resolved(), "b")
    assert {str(address) for address in found.own} == {"192.168.1.3", str(baseline_topology(resolved()).address("b"))}
    assert found.own < found.public


@pytest.mark.parametrize("nat", ["none", "firewall"])
def test_a_subnet_that_no_nat_hides_is_refused(nat: str) -> None:
    with pytest.raises(ScenarioError, match=r"shows 192\.168\.1\.0/24 to the outside, which rb has inside as well"):
        resolved(nat_a=nat)
