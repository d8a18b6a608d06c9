"""Routers that translate between IP versions (RFC 6146): what may be said, who reaches whom, and by which address."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from harness.errors import MissingPrerequisite, ScenarioError
from harness.lab.names import hosts_file
from harness.lab.neighbours import Attached, neighbours_of
from harness.machine.requirements import require_for
from harness.model.baseline import baseline_topology
from harness.model.nat import parse_nat
from harness.model.topology import Topology
from harness.model.trial import Trial
from harness.nat.programs import RouterProgram
from harness.nat.ruleset import render_ruleset
from harness.nat.translator import tayga_configuration
from harness.overlay.registry import load_overlay, overlay_names
from harness.overlay.support import why_unsupported
from harness.probes.verdict import member_addresses
from harness.scenario.expected import expected_verdicts
from harness.scenario.load import load_scenario, load_topology
from harness.scenario.plan import expand
from harness.topology.wiring import router_behaviour, router_ports


def resolved(name: str = "ipv6-only", **params: Any) -> Topology:
    return load_topology(name).resolve(params)


def trials(tmp_path: Path, overlays: str, more: str = "") -> list[Trial]:
    file = tmp_path / "mine.yaml"
    text = f"description: d\ntopology: ipv6-only\noverlays: {{{overlays}}}\nprobes: {{path: {{}}}}\n{more}"
    file.write_text(text)
    return list(expand(load_scenario(str(file), overlay_names())))


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"nat64": True}, "nat64 without ipv6_filtering"),
        ({"alias": "ipv6-firewall", "nat64": True}, "nat64 needs a mapping"),
        ({"alias": "nat64", "port_allocation": "block"}, "nat64 takes the IPv4 addresses of its hosts as they come"),
    ],
)
def test_what_cannot_be_is_refused(axes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_nat(axes)


def test_a_translator_has_both_versions_where_it_needs_them() -> None:
    with pytest.raises(ScenarioError, match="nat64 needs IPv6 inside and an IPv4 address outside, which ra has not"):
        resolved("two-sites", ip="v6", nat_a="nat64", nat_b="dual-stack")
    assert resolved("two-sites", ip="dual", nat_a="nat64", nat_b="dual-stack").translator_of("a") is None, "it has IPv4"


def test_a_translator_without_a_public_address_outside_is_refused() -> None:
    text = resolved().model_dump_json().replace("45.45.", "198.18.")  # RFC 2544's, for benchmarks
    with pytest.raises(ValueError, match="nat64 needs public IPv4 addresses outside"):
        Topology.model_validate_json(text)


def test_who_has_ipv6_alone_is_led_through_the_translator_and_by_a_synthesised_address() -> None:
    topology = resolved()
    assert topology.families("a") == ("ipv6",) and topology.families("b") == ("ipv4",)
    assert topology.translator_of("a") == "rc" and topology.translator_of("b") is None
    assert topology.address_seen_by("a", "s") == ip_address("64:ff9b::2d2d:a")
    assert topology.address_seen_by("b", "s") == ip_address("45.45.0.10")
    assert resolved(server="dual").address_seen_by("a", "s") == ip_address("2a0e:45::10"), "its own, where there is one"
    with pytest.raises(ValueError, match="b and a have no IP version in common"):
        resolved().address_seen_by("b", "a")


def test_without_a_translator_two_members_of_two_versions_are_refused() -> None:
    with pytest.raises(ScenarioError, match="no IP version is common to all members"):
        resolved(nat_a="ipv6-firewall")


def test_translated_flows_go_by_the_routers_own_ipv4_rules() -> None:
    topology = resolved()
    ports = router_ports(topology, "rc")
    assert ports.lans == ("rc-eth1", "nat64")
    text = render_ruleset(router_behaviour(topology, "rc"), ports, seed=1)
    assert 'iifname { "rc-eth1", "nat64" } oifname "rc-eth0"' in text
    assert router_ports(topology, "rb").lans == ("rb-eth1",)
    assert "prefix 64:ff9b::/96" in tayga_configuration()


def test_names_are_as_a_dns64_gives_them_behind_a_translator_alone() -> None:
    topology = resolved()
    seen = hosts_file(topology, "a").splitlines()
    assert "64:ff9b::2d2d:a s s.lab" in seen and "45.45.0.10 s s.lab" in seen
    assert not any(line.startswith("64:ff9b") and line.endswith("b b.lab") for line in seen), "b is behind a NAT"
    assert hosts_file(topology, "b") == hosts_file(topology)
    assert "64:ff9b" not in hosts_file(topology) + hosts_file(resolved(server="dual", home="dual"), "a").split("rb")[0]


def test_the_baseline_gives_ipv4_to_the_network_that_has_none_and_to_no_other() -> None:
    topology = baseline_topology(resolved())
    assert topology.common_families(topology.members) == ("ipv4",)
    assert topology.address_in("a", "ipv4") == ip_address("198.19.254.1")
    assert topology.routers["rc"].inside[0].ipv4 == (ip_address("198.19.254.2"),)
    assert topology.hosts["b"] == resolved().hosts["b"] and topology.routers["rb"] == resolved().routers["rb"]
    dual = resolved("two-sites", ip="dual", nat_a="nat64", nat_b="dual-stack")
    assert baseline_topology(dual) is dual


def test_a_peer_seen_through_the_translator_is_the_peer() -> None:
    assert ip_address("64:ff9b::2d2d:201") in member_addresses(resolved(), "b").public
    assert ip_address("45.45.1.1") in member_addresses(resolved(), "a").public


def test_nobody_is_told_of_neighbours_in_a_version_that_it_has_not() -> None:
    four, both = (ip_address("45.45.0.1"),), (ip_address("45.45.0.2"), ip_address("2a0e::2"))
    known = neighbours_of([[Attached("x", 1, b"x", four), Attached("y", 2, b"y", both)]])
    assert [one.address for one in known["x"]] == [both[0]]
    assert [one.address for one in known["y"]] == [four[0]]


def test_which_overlays_cope(tmp_path: Path) -> None:
    said = {
        trial.overlay: why_unsupported(trial, load_overlay(trial.overlay))
        for trial in trials(tmp_path, "refmesh: mesh, yggdrasil: relay, wireguard: mesh")
    }
    assert said == {
        "refmesh": None,
        "yggdrasil": None,
        "wireguard": "wireguard runs over IPv4, and a has IPv6 alone",
    }


@pytest.mark.parametrize("name", ["refmesh", "yggdrasil"])
def test_a_member_with_ipv6_alone_is_told_the_synthesised_address_and_others_are_not(tmp_path: Path, name: str) -> None:
    (trial,) = trials(tmp_path, f"{name}: relay")
    files = {file.node: file.text for file in load_overlay(name).render(trial).files}
    assert "64:ff9b::2d2d:a" in files["a"]
    assert "64:ff9b" not in files["b"] + files["s"]


@pytest.mark.parametrize(
    ("nat", "expected"),
    [
        ("nat64", ("relayed",)),
        ("{alias: nat64, filtering: APDF}", ("relayed",)),
        ("{alias: nat64, filtering: EIF}", ("direct",)),
        ("{alias: nat64, mapping: APDM, filtering: EIF}", ("direct", "relayed")),
    ],
)
def test_the_oracle_of_a_host_that_can_only_answer(tmp_path: Path, nat: str, expected: tuple[str, ...]) -> None:
    (trial,) = trials(tmp_path, "refmesh: mesh", f"params: {{nat_a: {nat}}}\n")
    assert expected_verdicts(trial, load_overlay("refmesh")) == {("a", "b"): expected}


def test_two_members_that_share_ipv6_need_no_translator(tmp_path: Path) -> None:
    (trial,) = trials(tmp_path, "refmesh: mesh", "params: {home: dual, nat_b: dual-stack}\n")
    assert expected_verdicts(trial, load_overlay("refmesh")) == {("a", "b"): ("direct",)}


def test_a_machine_without_the_translator_is_told_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.machine.requirements.TAYGA", RouterProgram("no-such-tayga", "tayga"))
    found = trials(tmp_path, "underlay: ")
    with pytest.raises(MissingPrerequisite) as caught:
        require_for(found, {"underlay": load_overlay("underlay")})
    assert (caught.value.missing, caught.value.remedy) == (
        "the program `no-such-tayga`",
        "apt-get install -y tayga",
    )


def test_nobody_becomes_a_translator_while_it_runs(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="nat64 stays as the topology has it"):
        trials(tmp_path, "underlay: ", "timeline: [{at_s: 1, do: change_nat, to: rc, nat: dual-stack}]\n")
