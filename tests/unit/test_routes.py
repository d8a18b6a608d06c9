"""By whom each node sends what: default routes, networks behind routers, several routers in front of one network."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from harness.lab.plugging import _same_network
from harness.lab.routes import routes_of
from harness.model.topology import Topology
from harness.scenario.load import load_topology


def nats(topology: str, nat: object) -> dict[str, object]:
    declared = load_topology(topology).parameters
    return {name: nat for name, parameter in declared.items() if parameter.type == "nat"}


def resolved(topology: str, ip: str, nat: object = "dual-stack") -> Topology:
    return load_topology(topology).resolve({"ip": ip, **nats(topology, nat)})


def routes(topology: Topology, node: str) -> set[tuple[str, str]]:
    return {(route.network, route.gateway) for route in routes_of(topology, node)}


def test_routes_show_ipv6_networks_and_hide_what_is_behind_a_nat() -> None:
    topology = resolved("two-sites", "dual")
    assert routes(topology, "a") == {("default", "192.168.1.1"), ("default", "2a0e:45:1::1")}
    assert routes(topology, "ra") == {("2a0e:45:2::/64", "2a0e:45::2:1")}
    assert routes(topology, "s") == {("2a0e:45:1::/64", "2a0e:45::1:1"), ("2a0e:45:2::/64", "2a0e:45::2:1")}
    firewalled = resolved("two-sites", "v4", "firewall")
    assert routes(firewalled, "s") == {("192.168.1.0/24", "45.45.1.1"), ("192.168.2.0/24", "45.45.2.1")}


def test_a_router_that_forwards_no_ipv6_is_nobodys_way() -> None:
    topology = resolved("two-sites", "dual", "port-restricted")
    assert routes(topology, "a") == {("default", "192.168.1.1")}
    assert routes(topology, "s") == set()
    assert topology.families("a") == ("ipv4",)


def sent_by(topology: Topology, host: str, router: str) -> Topology:
    described = topology.hosts[host].model_copy(update={"via": router})
    return topology.model_copy(update={"hosts": {**topology.hosts, host: described}})


def test_of_two_routers_in_front_of_a_network_others_take_the_one_that_its_hosts_use() -> None:
    spare = {"nat_a": "dual-stack", "nat_b": "dual-stack", "nat_a2": "dual-stack", "nat_b2": "dual-stack"}
    topology = load_topology("two-uplinks").resolve({"ip": "dual", **spare})
    to_b = ("2a0e:45:2::/64", "2a0e:45::2:1")
    assert routes(topology, "s") == {("2a0e:45:1::/64", "2a0e:45::1:1"), to_b}
    switched = sent_by(topology, "a", "ra2")
    assert routes(switched, "s") == {("2a0e:45:1::/64", "2a0e:45::3:1"), to_b}
    assert routes(switched, "a") == {("default", "192.168.1.254"), ("default", "2a0e:45:1::254")}
    for own in ("ra", "ra2"):
        assert routes(topology, own) == routes(switched, own) == {to_b}, "never by another to a network of its own"
    one_more = topology.hosts["a"].model_copy(update={"addresses": (ip_address("2a0e:45:1::9"),), "via": "ra2"})
    both = topology.model_copy(update={"hosts": {**topology.hosts, "x": one_more}})
    assert routes(both, "s") == {("2a0e:45:1::/64", "2a0e:45::1:1"), ("2a0e:45:1::9/128", "2a0e:45::3:1"), to_b}
    assert routes(both, "ra") == {to_b}
    plain = load_topology("two-uplinks").resolve({"nat_a": "firewall", "nat_a2": "firewall"})
    assert routes(plain, "ra2") == set() and routes(plain, "s") == {("192.168.1.0/24", "45.45.1.1")}


def test_routes_through_a_carrier() -> None:
    topology = resolved("cgnat", "dual")
    by_rc = {(network, "2a0e:45::3:1") for network in ("2a0e:45:3::/64", "2a0e:45:1::/64", "2a0e:45:2::/64")}
    assert routes(topology, "s") == by_rc
    assert routes(topology, "rc") == {("2a0e:45:1::/64", "2a0e:45:3::1:1"), ("2a0e:45:2::/64", "2a0e:45:3::2:1")}
    assert routes(topology, "ra") == {("default", "10.128.0.1"), ("default", "2a0e:45:3::1")}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2a0e:45:1::9", "2a0e:45:1::9/128", True),
        ("45.45.1.9", "45.45.1.9/32", True),
        ("2a0e:45:1::/64", "2a0e:45:1::/64", True),
        ("default", "default", True),
        ("default", "2a0e:45:1::/64", False),
        ("2a0e:45:1::9", "2a0e:45:1::8/128", False),
    ],
)
def test_a_route_to_a_single_address_is_known_without_its_length(one: str, other: str, same: bool) -> None:
    """As `ip route show` prints it, from which routes that wait for an interface come."""
    assert _same_network(one, other) is same
