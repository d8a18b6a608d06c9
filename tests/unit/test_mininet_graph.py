"""What a Mininet graph asks for becomes a topology, or is refused with the option's own name. Nothing is built."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from mininet.nodelib import NAT
from mininet.topo import Topo

from harness.lab.baseline import added_routes
from harness.model.topology import MininetClass, Topology
from harness.topology.mininet_graph import examine
from harness.topology.mininet_links import profile_of
from harness.topology.mininet_routes import renamed
from harness.topology.mininet_topology import topology_of


def two(host: Mapping[str, Any] = {}, link: Mapping[str, Any] = {}, name: str = "h1") -> Topo:
    """Return two hosts on a switch, with options of the first and its link."""
    topo = Topo()
    topo.addSwitch("s1")
    topo.addLink(topo.addHost(name, **host), "s1", **link)
    topo.addLink(topo.addHost("h2"), "s1")
    return topo


def natted(**options: Any) -> Topo:
    """Return a NAT with its outside on s0 and two insides, a host on each."""
    topo = Topo()
    nat = topo.addNode("Home-NAT", **{"cls": NAT, "ip": "45.45.0.1/24", "inetIntf": "w0", "localIntf": "l1"} | options)
    topo.addLink(nat, topo.addSwitch("s0"), intfName1="w0")
    topo.addLink(topo.addHost("a", ip="45.45.0.2/24"), "s0")
    for number in (1, 2):
        given = {"params1": {"ip": f"192.168.{number}.1/24"}, "intfName1": f"l{number}"}
        topo.addLink(nat, topo.addSwitch(f"s{number}"), **given)
        topo.addLink(topo.addHost(f"h{number}", ip=f"192.168.{number}.2/24"), f"s{number}")
    return topo


def resolved(topo: Topo, members: tuple[str, ...] = ()) -> Topology:
    graph = json.loads(json.dumps(examine(topo).as_dict()))
    assert graph["problems"] == []
    return topology_of(graph, MininetClass(path="x:Y"), members, None)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"delay": "fast"}, "delay: 'fast' is no time such as 10ms"),
        ({"delay": -5}, "delay: -5 is no time"),
        ({"jitter": "1..2ms"}, "jitter: '1..2ms' is no time"),
        ({"bw": "10Mbit"}, "bw is a number of Mbit/s, not '10Mbit'"),
        ({"bw": 0}, "bw: input should be greater than 0"),
        ({"loss": 120}, "loss: input should be less than or equal to 100"),
        ({"bw": 1, "max_queue_size": "many"}, "max_queue_size is a number of packets, not 'many'"),
        ({"params1": {"mac": "02:00:00:00:00:01"}}, "params1: Mininet takes a hardware address as addr1"),
        ({"params2": {"up": False}}, "params2: up: not supported"),
    ],
)
def test_a_value_that_no_link_can_have_is_refused(options: dict[str, Any], complaint: str) -> None:
    (problem,) = examine(two(link=options)).problems
    assert problem.startswith(f"link h1 <-> s1: {complaint}")


@pytest.mark.parametrize(
    ("said", "milliseconds"),
    [("5msec", 5), ("5 ms", 5), ("0.5s", 500), ("2secs", 2000), ("300us", 0.3), (5000, 5), ("7usecs", 0.007)],
)
def test_times_are_as_tc_takes_them(said: object, milliseconds: float) -> None:
    profile = profile_of({"delay": said})
    assert profile is not None and profile.up.delay_ms == pytest.approx(milliseconds)
    assert profile_of({"delay": 0, "loss": 0}) is None


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"defaultRoute": "h1-eth7"}, "defaultRoute: there is no interface h1-eth7, but h1-eth0"),
        ({"defaultRoute": "10.0.0.254"}, "defaultRoute: there is no interface 10.0.0.254, .*'via 10.0.0.254'"),
        ({"defaultRoute": "via 192.168.77.1"}, "192.168.77.1 is in none of the networks that it is on: 10.0.0.0/8"),
        ({"defaultRoute": "via gateway"}, "'gateway' is no address"),
        ({"defaultRoute": "via 10.0.0.2 metric 5"}, "is no interface, and not `via ADDRESS`"),
        ({"ip": None, "defaultRoute": "via 10.0.0.2"}, "in none of the networks that it is on: none"),
        ({"mac": "1:2"}, "'1:2' is no hardware address"),
    ],
)
def test_a_host_that_the_kernel_would_refuse_is_refused(options: dict[str, Any], complaint: str) -> None:
    (problem,) = examine(two(options)).problems
    assert problem.startswith("host h1: ")
    assert re.search(complaint, problem), problem


@pytest.mark.parametrize("route", ["h1-eth0", "via 10.0.0.2", "dev h1-eth0 via 10.0.0.2", None])
def test_routes_that_a_lab_sets_are_no_problem(route: str | None) -> None:
    assert examine(two({"defaultRoute": route})).problems == []


def test_a_route_follows_the_name_of_its_interface() -> None:
    assert renamed("long-eth0", {"long-eth0": "if1"}) == "dev if1"
    assert renamed("via 10.0.0.1 dev long-eth0", {"long-eth0": "if1"}) == "via 10.0.0.1 dev if1"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("H2", "differs in case alone"), ("a b", "a host's name is of letters"), ("x" * 65, "at most 64 of them")],
)
def test_names_that_no_network_has_are_refused(name: str, complaint: str) -> None:
    assert complaint in examine(two(name=name)).problems[0]


def test_two_interfaces_of_one_name_are_refused() -> None:
    topo = two(link={"intfName1": "eth"})
    topo.addLink("h1", "s1", intfName1="eth", intfName2="s1-eth1")
    assert examine(topo).problems == [
        "host h1: two of its interfaces are called eth",
        "two interfaces of switches are called s1-eth1",
    ]


def test_an_address_twice_on_a_segment_is_refused_whoever_takes_part() -> None:
    topo = two()
    topo.addLink(topo.addHost("h3", ip="10.0.0.1/8"), "s1")
    with pytest.raises(ValueError, match=r"host h3: address 10.0.0.1 is h1's already"):
        resolved(topo, ("h1", "h2"))
    same = {"mac": "02:00:00:00:00:01"}
    topo = two(same)
    topo.addLink(topo.addHost("h3", **same), "s1")
    with pytest.raises(ValueError, match="host h3: address 02:00:00:00:00:01 is h1's already"):
        resolved(topo)


def test_an_address_that_a_host_says_twice_is_one() -> None:
    found = resolved(two({"ip": "10.0.0.7/8"}, {"params1": {"ip": "10.0.0.7/24"}}))
    assert [str(one) for one in found.hosts["h1"].addresses] == ["10.0.0.7"]


def test_a_host_is_where_its_first_address_is() -> None:
    topo = two({"ip": None})
    topo.addLink("h1", topo.addSwitch("s2"), params1={"ip": "10.9.0.1/24"})
    topo.addLink(topo.addHost("h3", ip="10.9.0.3/24"), "s2")
    found = resolved(topo)
    assert found.hosts["h1"].on == found.hosts["h3"].on != found.hosts["h2"].on
    assert [str(one) for one in found.hosts["h1"].addresses] == ["10.9.0.1"]
    assert str(found.segments[found.hosts["h1"].on].ipv4) == "10.9.0.0/24"


def test_a_nat_keeps_its_name_and_has_all_its_insides() -> None:
    found = resolved(natted())
    assert found.routers_of("h1") == found.routers_of("h2") == ["Home-NAT"]
    assert [str(one.addresses[0]) for one in found.routers["Home-NAT"].inside] == ["192.168.1.1", "192.168.2.1"]
    assert str(found.routers["Home-NAT"].outside.addresses[0]) == "45.45.0.1"
    with pytest.raises(ValueError, match="inetIntf names the one of its interfaces, w0, l1, l2, that is outside"):
        resolved(natted(inetIntf=None))


def test_the_underlay_leads_from_public_members_to_networks_behind_a_nat() -> None:
    found = {
        name: [(one.network, one.gateway) for one in routes]
        for name, routes in added_routes(resolved(natted()), "ipv4").items()
    }
    assert found["a"] == [("192.168.1.0/24", "45.45.0.1"), ("192.168.2.0/24", "45.45.0.1")]


def test_a_nat_of_ones_own_is_refused_as_its_methods_would_not_run() -> None:
    own = type("OwnNat", (NAT,), {})
    assert "OwnNat is a NAT of one's own" in examine(natted(cls=own)).problems[0]


def test_segments_have_names_that_no_host_has() -> None:
    topo = two(name="mininet")
    found = resolved(topo)
    assert found.hosts["mininet"].on not in {"mininet", "h2"}
