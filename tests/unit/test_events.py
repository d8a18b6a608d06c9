"""Events: what they refuse at check, with its line, and what they render."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from harness.errors import ScenarioError
from harness.lab.partition import rules
from harness.model.nat import parse_nat
from harness.model.reference import scenario_reference, scenario_schema
from harness.model.topology import Topology
from harness.nat.policies import PORTAL_PORT, allow_only, captive_portal, deny, parse_traffic
from harness.nat.ports import RouterPorts
from harness.scenario.load import SCENARIOS, bundled, load_topology
from harness.scenario.planned import plan_trials
from harness.timeline.placing import free_addresses, placed_on
from harness.timeline.registry import events

SCENARIO = """\
description: x
topology: {}
{}
overlays: {{underlay: , refmesh: [mesh, relay], nebula: mesh}}
probes: {{path: {{}}, continuity: {{duration_s: 5}}}}
timeline:
"""
PORTS = RouterPorts("r-eth0", ("45.45.1.1",), ("r-eth1",), ("192.168.1.0/24",))


def planned(tmp_path: Path, item: str, topology: str = "roaming", params: str = "params: {}") -> list[Any]:
    file = tmp_path / "mine.yaml"
    file.write_text(SCENARIO.format(topology, params) + f"  - {item}\n")
    return plan_trials(str(file)).trials


def topology_of(name: str, **params: Any) -> Topology:
    source = load_topology(name)
    return source.resolve(source.complete(params))


@pytest.mark.parametrize(
    "item",
    [
        "{at_s: 1, do: move, to: a, into: rm, for_s: 2}",
        "{at_s: 1, do: move, to: a, into: lan_b}",
        "{at_s: 1, do: move, to: a, into: mobile, addresses: [10.64.7.7], via: rm}",
        "{at_s: 1, do: renew_ip, to: b, addresses: [192.168.2.77], for_s: 2}",
        "{at_s: 1, do: partition, to: a, away_from: [b, s], for_s: 1}",
        "{at_s: 1, do: firewall, to: ra, allow: [tcp/443, udp/53], for_s: 1}",
        "{after: direct, do: firewall, to: ra, captive_portal: true}",
        "{at_s: 1, do: restart, to: s, service: '*'}",
        "{at_s: 1, do: stop, to: s, for_s: 1}",
        "{at_s: 1, do: remove_member, to: a, for_s: 1}",
    ],
)
def test_what_can_be_is_planned(tmp_path: Path, item: str) -> None:
    assert len(planned(tmp_path, item)) == 4


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("{at_s: 1, do: move, to: a, into: rn}", "there is no segment or router rn"),
        ("{at_s: 1, do: move, to: a, into: lan_a}", "a is on lan_a already"),
        ("{at_s: 1, do: move, to: a, into: rm, addresses: [10.65.0.1]}", "10.65.0.1 is not in 10.64.0.0/16"),
        ("{at_s: 1, do: move, to: a, into: lan_b, addresses: [192.168.2.2]}", "192.168.2.2 is b's"),
        ("{at_s: 1, do: move, to: a, into: lan_b, via: rm}", "no router rm has an inside on lan_b"),
        ("{at_s: 1, do: move, to: ra, into: mobile}", "move cannot be done to ra"),
        ("{at_s: 1, do: move, to: a}", "into: Field required"),
        ("{at_s: 1, do: renew_ip, to: a, addresses: [10.64.0.9]}", "10.64.0.9 is not in 192.168.1.0/24"),
        ("{at_s: 1, do: switch_uplink, to: a, via: rm}", "switch_uplink cannot be done to a"),
        ("{at_s: 1, do: partition, to: a, away_from: c}", "there is no host c"),
        ("{at_s: 1, do: partition, to: a, away_from: a}", "a cannot be parted from itself"),
        ("{at_s: 1, do: firewall, to: ra}", "give `allow`, `deny` or `captive_portal: true`"),
        ("{at_s: 1, do: firewall, to: ra, allow: tcp/443, deny: udp}", "one of the three"),
        ("{at_s: 1, do: firewall, to: ra, deny: udp/70000}", "ports are 1 to 65535"),
        ("{at_s: 1, do: firewall, to: ra, deny: sctp}", "'sctp' is no traffic such as"),
        ("{at_s: 1, do: clock_jump, to: a, seconds: 60}", "no clock of a running daemon can jump"),
        ("{at_s: 1, do: add_member, to: a}", "add_member cannot be done to a (there are none)"),
        ("{at_s: 1, do: restart, to: a, for_s: 1}", "restart cannot be undone"),
        ("{at_s: 1, do: kill, to: s, service: lighthouse}", "refmesh mesh: there is no service lighthouse on s"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(tmp_path: Path, item: str, said: str) -> None:
    with pytest.raises(ScenarioError) as error:
        planned(tmp_path, item)
    assert said in str(error.value)
    assert "mine.yaml:7: timeline" in str(error.value)


def test_a_spare_line_can_be_switched_to_and_no_other(tmp_path: Path) -> None:
    assert planned(tmp_path, "{at_s: 1, do: switch_uplink, to: a, via: ra2, for_s: 2}", "two-uplinks")
    with pytest.raises(ScenarioError, match=r"a cannot use rb2 \(it can use ra2\)"):
        planned(tmp_path, "{at_s: 1, do: switch_uplink, to: a, via: rb2}", "two-uplinks")


def test_whoever_shares_a_router_is_not_parted_by_its_address(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="a and b share a router"):
        planned(tmp_path, "{at_s: 1, do: partition, to: a, away_from: b}", "same-site")


def test_a_third_party_can_join(tmp_path: Path) -> None:
    trials = planned(tmp_path, "{at_s: 1, do: add_member, to: p3}", "parties")
    assert events()["add_member"].subject_is_absent and trials[0].timeline[0].to == "p3"


@pytest.mark.parametrize("name", ["nat66"])
def test_what_no_router_does_here_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}: no router of a lab"):
        parse_nat({"alias": "dual-stack", name: True})


def test_free_addresses_are_nobodys_and_of_the_hosts_own_ip_versions() -> None:
    topology = topology_of("roaming", ip="dual")
    found = free_addresses(topology, "a", "mobile")
    assert [address.version for address in found] == [4, 6]
    taken = {
        address
        for attached in topology.attachments().values()
        for attachment in attached
        for address in attachment.addresses
    }
    assert not set(found) & taken
    placed = placed_on(topology, "a", "mobile", (), "rm")
    assert (placed.on, placed.via, placed.addresses) == ("mobile", "rm", found)
    moved = topology.model_copy(update={"hosts": {**topology.hosts, "a": placed}})
    Topology.model_validate(moved.model_dump())


@pytest.mark.parametrize("text", ["udp", "tcp/443", "udp/1000-2000", "icmp", "all"])
def test_traffic_is_read(text: str) -> None:
    assert parse_traffic(text).protocol == text.split("/", maxsplit=1)[0]


def test_ports_of_a_policy_are_those_outside_both_ways() -> None:
    lines = [line.strip() for line in allow_only(PORTS, [parse_traffic("tcp/443")]).splitlines()]
    assert 'iifname { "r-eth1" } oifname "r-eth0" tcp dport 443-443 accept' in lines
    assert 'iifname "r-eth0" oifname { "r-eth1" } tcp sport 443-443 accept' in lines
    assert 'iifname { "r-eth1" } oifname "r-eth0" drop' in lines
    denied = deny(PORTS, [parse_traffic("udp")])
    assert 'oifname "r-eth0" meta l4proto udp drop' in denied and not denied.count("drop") % 2
    assert f"redirect to :{PORTAL_PORT}" in captive_portal(PORTS) and "udp dport 53-53 accept" in captive_portal(PORTS)


def test_a_partition_cuts_both_ways_in_both_ip_versions() -> None:
    sides = ([ip_address("45.45.1.1"), ip_address("2a0e::1")], [ip_address("45.45.2.1"), ip_address("2a0e::2")])
    text = rules("a_b", ["p1", "p2"], *sides)
    assert "ip saddr { 45.45.1.1 } ip daddr { 45.45.2.1 } drop" in text
    assert "ip saddr { 45.45.2.1 } ip daddr { 45.45.1.1 } drop" in text
    assert text.count("drop") == 4 and "devices = { p1, p2 }" in text
    assert rules("a_b", ["p1"], sides[0][:1], sides[1]).count("drop") == 2
    many = rules("a_b", [f"p{number}" for number in range(450)], *sides)
    assert [one.count(",") + 1 for one in re.findall(r"devices = \{([^}]*)\}", many)] == [200, 200, 50]
    assert many.count("drop") == 3 * 4 and len(set(re.findall(r"chain (\w+)", many))) == 3


@pytest.mark.parametrize(
    "name", [name for name in bundled(SCENARIOS) if "timeline" in (SCENARIOS / f"{name}.yaml").read_text()]
)
def test_editors_accept_what_check_does(name: str) -> None:
    data = yaml.safe_load((SCENARIOS / f"{name}.yaml").read_text())
    jsonschema.validate(data, scenario_schema())


def test_the_page_says_what_each_event_can_be_told() -> None:
    page = scenario_reference()
    for name, event in events().items():
        part = page.split(f"## `timeline: do: {name}`\n", 1)[1].split("\n## ", 1)[0]
        assert all(f"| `{key}` |" in part for key in event.settings.model_fields), name
