"""IPv4 and IPv6 side by side or alone: what a topology may say, who reaches whom, what must come of it."""

from __future__ import annotations

import json
import struct
from ipaddress import ip_address
from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.lab.baseline import added_routes
from harness.lab.counters import Flow, parse
from harness.lab.tap import parse as parse_frame
from harness.model.nat import ALIASES, NatBehaviour, parse_nat
from harness.model.nat_ipv6 import as_seen_in_ipv6, ipv6_alone
from harness.model.topology import Topology
from harness.model.trial import Trial
from harness.nat.observation import Observation, differences
from harness.nat.ruleset import render_ruleset
from harness.overlay.registry import load_overlay, overlay_names
from harness.overlay.support import underlays_of, why_unsupported
from harness.probes.verdict import member_addresses, path_of_burst
from harness.scenario.expected import expected_verdicts
from harness.scenario.load import load_scenario, load_topology
from harness.scenario.plan import expand
from harness.topology.wiring import router_behaviour, router_ports
from overlays.refmesh.network import Site, make_network

DUAL = {"alias": "symmetric", "ipv6_filtering": "APDF"}
ALL_TOPOLOGIES = ("two-sites", "same-site", "cgnat", "regions")


def nats(topology: str, nat: object) -> dict[str, object]:
    declared = load_topology(topology).parameters
    return {name: nat for name, parameter in declared.items() if parameter.type == "nat"}


def resolved(topology: str, ip: str, nat: object = "dual-stack") -> Topology:
    return load_topology(topology).resolve({"ip": ip, **nats(topology, nat)})


@pytest.mark.parametrize("name", ALL_TOPOLOGIES)
def test_bundled_topologies_in_all_ip_versions(name: str) -> None:
    versions = {
        ip: {
            address.version
            for attached in resolved(name, ip).attachments().values()
            for p in attached
            for address in p.addresses
        }
        for ip in ("v4", "dual", "v6")
    }
    assert versions == {"v4": {4}, "dual": {4, 6}, "v6": {6}}
    assert load_topology(name).resolve(nats(name, "dual-stack")) == resolved(name, "v4")
    topology = resolved(name, "dual")
    assert all(address.is_global for address in topology.attachments()["s"][0].addresses)
    assert all(topology.families(host) == ("ipv4", "ipv6") for host in topology.hosts)


def mine(tmp_path: Path, **changes: str) -> Path:
    text = {
        "lan": '{subnets: [10.1.0.0/24, "2a0e:45:1::/64"]}',
        "a": '{on: lan, addresses: [10.1.0.2, "2a0e:45:1::2"], via: r}',
        "nat": "dual-stack",
        "outside": '{on: internet, addresses: [45.45.1.1, "2a0e:45::1"]}',
        "b": '{on: internet, addresses: [45.45.0.9, "2a0e:45::9"]}',
        **changes,
    }
    file = tmp_path / "mine.yaml"
    file.write_text(
        "description: x\n---\n"
        'segments:\n  internet: {subnets: [45.45.0.0/16, "2a0e:45::/64"]}\n'
        f"  lan: {text['lan']}\n"
        f"hosts:\n  a: {text['a']}\n  b: {text['b']}\n"
        f"routers:\n  r:\n    nat: {text['nat']}\n    outside: {text['outside']}\n"
        '    inside: {on: lan, addresses: [10.1.0.1, "2a0e:45:1::1"]}\nmembers: [a, b]\n'
    )
    return file


def test_a_dual_stack_file_of_ones_own_holds_together(tmp_path: Path) -> None:
    topology = load_topology(str(mine(tmp_path))).resolve({})
    assert topology.common_families(("a", "b")) == ("ipv4", "ipv6")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"a": '{on: lan, addresses: [10.1.0.2, "2a0e:45:7::2"], via: r}'},
            "7: hosts.a.addresses[1]: address 2a0e:45:7::2 is not in lan's subnet 2a0e:45:1::/64",
        ),
        (
            {"b": '{on: internet, addresses: [45.45.0.9, "2a0e:45::1"]}'},
            "12: routers.r.outside.addresses[1]: address 2a0e:45::1 is already used by b",
        ),
        (
            {"lan": "{subnets: [10.1.0.0/24, 10.2.0.0/24]}"},
            "5: segments.lan: a segment has one IPv4 subnet, one IPv6 subnet, or one of each",
        ),
        ({"lan": '{subnet: "2a0e:45:1::2/64"}'}, "5: segments.lan: value is not a valid IPv4 or IPv6 network"),
        (
            {"nat": "port-restricted", "a": '{on: lan, address: "2a0e:45:1::2", via: r}'},
            "11: routers.r.nat: port-restricted forwards no IPv6, and a has no address of another family",
        ),
        (
            {"nat": "ipv6-firewall", "a": "{on: lan, address: 10.1.0.2, via: r}"},
            "11: routers.r.nat: ipv6-firewall forwards no IPv4, and a has no address of another family",
        ),
        (
            {"outside": "{on: internet, address: 45.45.1.1}", "a": '{on: lan, address: "2a0e:45:1::2", via: r}'},
            "12: routers.r.outside: r has no IPv6 address here, and a has no address of another family",
        ),
        (
            {"nat": "ipv6-firewall", "b": "{on: internet, address: 45.45.0.9}"},
            "14: members: no IP version is common to all members: a has IPv6, b has IPv4",
        ),
        ({"a": "{on: lan, address: 10.1.0.2, via: q}"}, "7: hosts.a.via: there is no router q"),
    ],
)
def test_what_does_not_fit_is_named_with_line_and_field(
    tmp_path: Path, changes: dict[str, str], complaint: str
) -> None:
    file = mine(tmp_path, **changes)
    with pytest.raises(ScenarioError) as caught:
        load_topology(str(file)).resolve({})
    found = [str(problem).removeprefix(f"{file}:") for problem in caught.value.problems]
    assert len(found) == 1
    assert found[0].startswith(complaint)


def test_an_address_of_a_family_that_the_segment_lacks(tmp_path: Path) -> None:
    file = mine(tmp_path, lan="{subnet: 10.1.0.0/24}")
    with pytest.raises(ScenarioError) as caught:
        load_topology(str(file)).resolve({})
    assert [str(problem).removeprefix(f"{file}:") for problem in caught.value.problems] == [
        "7: hosts.a.addresses[1]: address 2a0e:45:1::2 is IPv6, and lan has no subnet of that family",
        "13: routers.r.inside.addresses[1]: address 2a0e:45:1::1 is IPv6, and lan has no subnet of that family",
    ]


def scenario(tmp_path: Path, ip: str, nat: str, overlays: str = "refmesh: mesh") -> list[Trial]:
    file = tmp_path / "scenario.yaml"
    file.write_text(
        f"description: x\ntopology: two-sites\nmatrix: {{ip: [{ip}]}}\nparams: {{nat_a: {nat}, nat_b: {nat}}}\n"
        f"overlays: {{{overlays}}}\nprobes: [path]\n"
    )
    return expand(load_scenario(str(file), overlay_names()))


def test_a_nat_without_ipv6_in_an_ipv6_lab_is_the_scenarios_mistake(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"scenario\.yaml:2: topology: with .*ip: v6: .*two-sites\.yaml:\d+: rou"):
        scenario(tmp_path, "v4, v6", "port-restricted")
    with pytest.raises(ScenarioError, match=r"scenario\.yaml:3: matrix\.ip\[1\]: expected one of v4, dual, v6, got"):
        scenario(tmp_path, "v4, v5", "port-restricted")


def test_the_baseline_adds_only_routes_that_are_not_there() -> None:
    dual, six = resolved("two-sites", "dual"), resolved("two-sites", "v6")
    assert {name: [route.network for route in found] for name, found in added_routes(dual, "ipv4").items()} == {
        "ra": ["192.168.2.0/24"],
        "rb": ["192.168.1.0/24"],
    }
    assert added_routes(six, "ipv6") == {}


# A translator without an IPv4 address outside is refused (test_nat64.py).
FILTERS_IPV6 = sorted(name for name, one in ALIASES.items() if one.behaviour.ipv6_filtering and name != "nat64")


@pytest.mark.parametrize("alias", FILTERS_IPV6)
def test_a_router_without_ipv4_addresses_has_its_ipv6_side_alone(alias: str) -> None:
    topology = resolved("two-sites", "v6", alias)
    behaviour = router_behaviour(topology, "ra")
    assert (behaviour.ipv4, behaviour.translates) == (False, False)
    assert behaviour.ipv6_filtering == ALIASES[alias].behaviour.ipv6_filtering
    text = render_ruleset(behaviour, router_ports(topology, "ra"), seed=1)
    assert "table ip nat_v4 {" not in text and "2a0e" not in text
    assert router_behaviour(resolved("two-sites", "v4", "dual-stack"), "ra") == ALIASES["dual-stack"].behaviour


def test_the_ipv6_side_keeps_what_is_not_of_ipv4() -> None:
    behaviour = parse_nat(DUAL | {"udp_lifetime_s": 30, "egress": "no-udp", "unsolicited": "reject"})
    seen = as_seen_in_ipv6(behaviour)
    wanted = {"filtering": "APDF", "udp_lifetime_s": 30, "egress": "no-udp", "unsolicited": "reject"}
    assert seen == NatBehaviour.model_validate({"mapping": "none", **wanted})
    assert as_seen_in_ipv6(parse_nat("symmetric")) is None
    unfiltered = parse_nat({"ipv6_filtering": "none", "unsolicited": "reject"})
    assert ipv6_alone(unfiltered) == ALIASES["ipv6-only"].behaviour


@pytest.mark.parametrize(
    ("ip", "nat", "expected"),
    [
        ("v4", str(DUAL).replace("'", ""), ("direct", "relayed")),
        ("dual", str(DUAL).replace("'", ""), ("direct",)),
        ("v6", str(DUAL).replace("'", ""), ("direct",)),
        ("dual", "symmetric", ("direct", "relayed")),
        ("dual", "{ipv6_filtering: APDF, egress: no-udp}", ("relayed",)),
        ("v6", "ipv6-firewall", ("direct",)),
        ("dual", "port-restricted", ("direct",)),
    ],
)
def test_the_oracle_of_two_ip_versions(tmp_path: Path, ip: str, nat: str, expected: tuple[str, ...]) -> None:
    (trial,) = scenario(tmp_path, ip, nat)
    assert expected_verdicts(trial, load_overlay("refmesh")) == {("a", "b"): expected}


def test_an_overlay_says_over_what_it_runs(tmp_path: Path) -> None:
    openvpn, refmesh = load_overlay("openvpn"), load_overlay("refmesh")
    assert (underlays_of(openvpn), underlays_of(refmesh)) == ({"ipv4"}, {"ipv4", "ipv6"})
    of = {t.params["ip"]: t for t in scenario(tmp_path, "v4, dual, v6", "dual-stack", "openvpn: hub")}
    assert {ip: why_unsupported(trial, openvpn) for ip, trial in of.items()} == {
        "v4": None,
        "dual": None,
        "v6": "openvpn runs over IPv4, and a has IPv6 alone",
    }
    assert expected_verdicts(of["v6"], openvpn) == {}


def test_each_refmesh_node_gets_the_server_at_an_address_that_it_reaches() -> None:
    network = make_network(["a", "b"], [Site("s", "45.45.0.10")])
    moved = network.reached_at({"s": "2a0e:45::10"}).node_config("a")
    (before,), (after,) = network.node_config("a")["servers"], moved["servers"]
    assert (after["endpoint"], after["stun"]) == ("[2a0e:45::10]:7447", "[2a0e:45::10]:3478")
    assert before["endpoint"] == "45.45.0.10:7447"
    assert before["public_key"] == after["public_key"]


def test_a_burst_by_ipv6_is_direct_between_the_members_and_relayed_by_the_server() -> None:
    topology = resolved("two-sites", "dual")
    fronts = member_addresses(topology, "a"), member_addresses(topology, "b")

    def judged(*crossings: tuple[str, str, str]) -> str:
        counts = {Flow(segment, ip_address(one), ip_address(other)): 30_000 for segment, one, other in crossings}
        counts |= {Flow(flow.segment, flow.dst, flow.src): size for flow, size in counts.items()}
        return path_of_burst(counts, *fronts, 20_000)

    a6, b6, s6 = "2a0e:45:1::2", "2a0e:45:2::2", "2a0e:45::10"
    assert judged(("lan_a", a6, b6), ("lan_b", b6, a6)) == "direct"
    assert judged(("lan_a", a6, s6), ("lan_b", b6, s6)) == "relayed"
    # a talks to the server by IPv6, b by IPv4; and half direct, half by the server.
    assert judged(("lan_a", a6, s6), ("lan_b", "192.168.2.2", "45.45.0.10")) == "relayed"
    assert judged(("lan_a", a6, b6), ("lan_b", b6, a6), ("lan_a", "192.168.1.2", "45.45.0.10")) == "mixed"


def test_counters_and_taps_read_both_ip_versions() -> None:
    def listed(name: str, *ends: str) -> dict[str, object]:
        return {
            "set": {"name": name, "elem": [{"elem": {"val": {"concat": ends}, "counter": {"bytes": 7, "packets": 1}}}]}
        }

    both = [listed("lan.v4", "10.0.0.1", "10.0.0.2"), listed("lan.v6", "2a0e::1", "2a0e::2")]
    assert parse(json.dumps({"nftables": both})) == {
        Flow("lan", ip_address("10.0.0.1"), ip_address("10.0.0.2")): 7,
        Flow("lan", ip_address("2a0e::1"), ip_address("2a0e::2")): 7,
    }
    one, other = ip_address("2a0e::1"), ip_address("2a0e::2")
    header = struct.pack("!IHBB", 0x60000000, 960, 17, 64) + one.packed + other.packed
    assert parse_frame(bytes(12) + b"\x86\xdd" + header) == (one, other, 1000)
    assert parse_frame(bytes(12) + b"\x86\xdd" + header[:-1]) is None
    assert parse_frame(bytes(12) + b"\x08\x06" + bytes(60)) is None


def test_a_router_that_forwards_no_ipv6_does_not_pass_for_one_that_does() -> None:
    assert differences(parse_nat("dual-stack"), Observation(ipv6=False)) == ("ipv6: declared True, observed False",)
    assert differences(parse_nat("port-restricted"), Observation(ipv6=True)) == ("ipv6: declared False, observed True",)
    assert differences(parse_nat("dual-stack"), Observation(ipv6=True)) == ()
