"""Routers that exchange IPv6 prefixes (RFC 6296): what may be said, what is rendered, who finds the way."""

from __future__ import annotations

from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ScenarioError
from harness.lab.routes import routes_of
from harness.model.nat import Mapping, parse_nat
from harness.model.nat_ipv6 import as_peers_see_ipv6, as_seen_in_ipv6, ipv6_alone
from harness.model.topology import Topology
from harness.nat.observation import Observation, differences
from harness.nat.prefixes import translated
from harness.nat.ruleset import render_ruleset
from harness.overlay.registry import load_overlay, overlay_names
from harness.scenario.expected import expected_verdicts
from harness.scenario.load import load_scenario, load_topology
from harness.scenario.plan import expand
from harness.topology.wiring import impossible_routers, router_behaviour, router_ports

OTHER = "2a0e:45:a1::/64"


def nptv6(prefix: str = OTHER, **axes: Any) -> dict[str, Any]:
    return {"alias": "dual-stack", "nptv6": prefix} | axes


def resolved(ip: str = "dual", **params: Any) -> Topology:
    return load_topology("two-sites").resolve({"ip": ip, "nat_b": "dual-stack"} | params)


def test_the_bits_behind_the_prefix_stay() -> None:
    assert translated("2a0e:45:1::2:9", IPv6Network(OTHER)) == "2a0e:45:a1::2:9"


def test_both_directions_are_rendered_and_hairpins() -> None:
    topology = resolved(nat_a=nptv6())
    text = render_ruleset(router_behaviour(topology, "ra"), router_ports(topology, "ra"), seed=1)
    assert text.count("dnat ip6 prefix to ip6 daddr map { 2a0e:45:a1::/64 : 2a0e:45:1::/64 }") == 1
    assert text.count("snat ip6 prefix to ip6 saddr map { 2a0e:45:1::/64 : 2a0e:45:a1::/64 }") == 2
    other = render_ruleset(router_behaviour(topology, "rb"), router_ports(topology, "rb"), seed=1)
    assert "table ip6 nat_v6 {" not in other
    assert router_behaviour(resolved("v6", nat_a=nptv6()), "ra").nptv6 == IPv6Network(OTHER), "also without IPv4"


def test_others_find_the_way_by_the_prefix_that_they_see() -> None:
    known = {route.network for route in routes_of(resolved(nat_a=nptv6()), "s")}
    assert OTHER in known and "2a0e:45:1::/64" not in known
    assert "2a0e:45:2::/64" in known


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"nat_a": {"nptv6": OTHER}}, "the router forwards no IPv6 whose prefix it could exchange"),
        ({"nat_a": nptv6("2a0e:45:a1::1/64")}, "not a valid IPv6 network"),
        ({"nat_a": nptv6("2a0e:45::/64")}, "is already used by internet"),
        ({"nat_a": nptv6(), "nat_b": nptv6()}, "is already used by ra"),
    ],
)
def test_what_cannot_be_is_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        resolved(**params)


@pytest.mark.parametrize(
    ("ip", "prefix", "said"),
    [("dual", "2a0e:45:a1::/60", "not as long as the inside's prefix"), ("v4", OTHER, "has none of IPv6")],
)
def test_a_router_that_has_not_the_network_is_found(ip: str, prefix: str, said: str) -> None:
    ((name, reason),) = impossible_routers(load_topology("two-sites").resolve({"ip": ip, "nat_a": nptv6(prefix)}))
    assert name == "ra" and said in reason


def test_behind_a_carrier_that_exchanges_prefixes_no_home_shows_its_own() -> None:
    with pytest.raises(ScenarioError, match="and ra has another behind it"):
        load_topology("cgnat").resolve(
            {"ip": "dual", "nat_a": "dual-stack", "nat_b": "dual-stack", "nat_carrier": nptv6()}
        )


def test_peers_see_a_mapping_that_does_not_depend_on_them() -> None:
    for filtering in ("none", "EIF", "ADF", "APDF"):
        behaviour = parse_nat(nptv6(ipv6_filtering=filtering))
        seen, firewall = as_peers_see_ipv6(behaviour), as_seen_in_ipv6(behaviour)
        assert seen is not None and firewall is not None
        assert (seen.mapping, firewall.mapping) == (Mapping.EIM, Mapping.NONE)
        assert seen.filtering.short == (filtering if filtering != "none" else "EIF")
        assert ipv6_alone(behaviour).nptv6 == behaviour.nptv6


def test_a_prefix_that_is_not_the_declared_one_is_a_difference() -> None:
    declared = parse_nat(nptv6())
    assert differences(declared, Observation(nptv6=OTHER)) == ()
    assert differences(declared, Observation(nptv6="own")) == (f"nptv6: declared {OTHER}, observed own",)
    assert differences(parse_nat("dual-stack"), Observation(nptv6=OTHER)) == (f"nptv6: declared own, observed {OTHER}",)


def scenario(tmp_path: Path, more: str = "") -> Any:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "description: d\ntopology: two-sites\n"
        f"params: {{ip: v6, nat_a: {{alias: dual-stack, nptv6: '{OTHER}'}}, nat_b: dual-stack}}\n"
        f"overlays: {{refmesh: mesh}}\nprobes: {{path: {{}}}}\n{more}"
    )
    return load_scenario(str(file), overlay_names())


def test_the_oracle_expects_a_hole_through_two_firewalls(tmp_path: Path) -> None:
    (trial,) = expand(scenario(tmp_path))
    assert expected_verdicts(trial, load_overlay("refmesh")) == {("a", "b"): ("direct",)}


def test_no_router_gets_another_prefix_while_it_runs(tmp_path: Path) -> None:
    event = "timeline: [{at_s: 1, do: change_nat, to: ra, nat: dual-stack}]\n"
    with pytest.raises(ScenarioError, match="nptv6 stays as the topology has it"):
        expand(scenario(tmp_path, event))
