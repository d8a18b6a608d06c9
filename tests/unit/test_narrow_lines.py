"""Lines that carry less than Ethernet: what routers and their neighbours are told."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from harness.errors import ScenarioError
from harness.model.nat import parse_nat
from harness.model.topology import Topology
from harness.nat.ports import RouterPorts
from harness.nat.ruleset import render_ruleset
from harness.scenario.load import load_topology
from harness.topology.wiring import announced_mtus, router_ports

PORTS = RouterPorts("r-eth0", ("45.45.1.1",), ("r-eth1",), ("10.0.0.0/24",), line_mtu_bytes=1492)


def resolved(**params: Any) -> Topology:
    return load_topology("two-sites").resolve(params)


def test_a_router_knows_its_line_and_its_neighbours_do_where_it_says_so() -> None:
    narrow = resolved(link_a="pppoe", link_b={"up": {"mtu_bytes": 1400}})
    assert [router_ports(narrow, name).line_mtu_bytes for name in ("ra", "rb")] == [1492, 1400]
    assert announced_mtus(narrow) == {ip_address("45.45.1.1"): 1492, ip_address("45.45.2.1"): 1400}
    assert announced_mtus(resolved(link_a="pppoe", nat_a="mtu-black-hole")) == {}
    assert announced_mtus(resolved(link_a="dsl")) == {}


def test_a_host_on_a_narrow_line_is_known_to_its_neighbours_too() -> None:
    assert announced_mtus(resolved(link_s="pppoe")) == {ip_address("45.45.0.10"): 1492}
    assert announced_mtus(resolved(link_s="pppoe", nat_a="mtu-black-hole")) == {ip_address("45.45.0.10"): 1492}
    flat = load_topology("flat-lan").resolve({"link": {"mtu_bytes": 1400}})
    assert set(announced_mtus(flat).values()) == {1400} and len(announced_mtus(flat)) == len(flat.hosts)


@pytest.mark.parametrize(("nat", "clamps"), [("port-restricted", 4), ("none", 4), ("mtu-black-hole", 0)])
def test_tcp_is_clamped_both_ways_in_both_versions_on_a_narrow_line_alone(nat: str, clamps: int) -> None:
    assert render_ruleset(parse_nat(nat), PORTS, seed=1).count("maxseg size set") == clamps
    assert "maxseg" not in render_ruleset(parse_nat(nat), replace(PORTS, line_mtu_bytes=1500), seed=1)


def test_ipv6_over_less_than_it_needs_is_refused() -> None:
    with pytest.raises(ScenarioError, match="needs a link of 1280 bytes MTU"):
        resolved(ip="dual", nat_a="dual-stack", nat_b="dual-stack", link_a={"mtu_bytes": 1279})
    resolved(ip="dual", nat_a="dual-stack", nat_b="dual-stack", link_a={"mtu_bytes": 1280})
