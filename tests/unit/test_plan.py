"""Planning is pure and repeatable, pairs what is compared, and renders every bundled file."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.lab.routes import routes_of
from harness.model.trial import Trial
from harness.overlay.registry import load_overlay, overlay_names
from harness.overlay.support import helpers_of
from harness.scenario.load import SCENARIOS, TOPOLOGIES, bundled, load_scenario, load_topology
from harness.scenario.plan import expand, select
from harness.topology.labels import link_label, nat_label


def plan(tmp_path: Path, text: str) -> list[Trial]:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return expand(load_scenario(str(file), overlay_names()))


SWEEP = """\
description: sweep
topology: two-sites
pairs: {parameters: [nat_a, nat_b], values: [full-cone, port-restricted, symmetric]}
overlays: {underlay: , openvpn: hub, nebula: [mesh, relay]}
probes: [path]
repeats: 2
expect:
  - when: {mode: [hub, relay]}
    path: relayed
  - when: {overlay: nebula, mode: mesh}
    path: direct
  - when: {mode: mesh, nat_a: symmetric, nat_b: symmetric}
    path: relayed
"""


def test_unordered_pairs_times_overlays_times_repeats(tmp_path: Path) -> None:
    trials = plan(tmp_path, SWEEP)
    assert len(trials) == 6 * 4 * 2
    assert len({trial.id for trial in trials}) == len(trials)
    assert {(trial.nat_a, trial.nat_b) for trial in trials} == {
        ("full-cone", "full-cone"),
        ("full-cone", "port-restricted"),
        ("full-cone", "symmetric"),
        ("port-restricted", "port-restricted"),
        ("port-restricted", "symmetric"),
        ("symmetric", "symmetric"),
    }


def test_the_same_scenario_gives_the_same_plan_and_another_seed_another_order(tmp_path: Path) -> None:
    first, again = plan(tmp_path, SWEEP), plan(tmp_path, SWEEP)
    assert first == again
    other = plan(tmp_path, SWEEP + "seed: 2\n")
    assert [trial.id for trial in other] != [trial.id for trial in first]
    assert {trial.id for trial in other} == {trial.id for trial in first}


def test_trials_of_one_cell_and_repeat_share_a_seed_and_others_do_not(tmp_path: Path) -> None:
    seeds: dict[tuple[str | None, str | None, int], set[int]] = {}
    for trial in plan(tmp_path, SWEEP):
        seeds.setdefault((trial.nat_a, trial.nat_b, trial.repeat), set()).add(trial.seed)
    assert all(len(found) == 1 for found in seeds.values())
    assert len({next(iter(found)) for found in seeds.values()}) == len(seeds)


def test_repeats_do_not_interleave_but_overlays_do(tmp_path: Path) -> None:
    trials = plan(tmp_path, SWEEP)
    assert [trial.repeat for trial in trials] == [1] * 24 + [2] * 24
    assert len({trial.overlay for trial in trials[:8]}) > 1


def test_the_last_matching_expectation_wins(tmp_path: Path) -> None:
    expected = {(t.overlay, t.mode, t.nat_a, t.nat_b): t.expected_path for t in plan(tmp_path, SWEEP)}
    assert expected["nebula", "mesh", "full-cone", "symmetric"] == ("direct",)
    assert expected["nebula", "mesh", "symmetric", "symmetric"] == ("relayed",)
    assert expected["openvpn", "hub", "symmetric", "symmetric"] == ("relayed",)
    assert expected["underlay", "underlay", "symmetric", "symmetric"] == ()


def test_only_selects_and_refuses_what_is_not_there(tmp_path: Path) -> None:
    trials = plan(tmp_path, SWEEP)
    chosen = select(trials, {"overlay": ["nebula"], "nat_a": ["symmetric", "full-cone"], "repeat": ["1"]}, "f")
    assert {trial.overlay for trial in chosen} == {"nebula"}
    assert len(chosen) == 2 * 4
    with pytest.raises(ScenarioError, match=r"no such key overlai \(did you mean overlay\?\)"):
        select(trials, {"overlai": ["x"]}, "f")
    with pytest.raises(ScenarioError, match="no trial has"):
        select(trials, {"overlay": ["tinc"]}, "f")


@pytest.mark.parametrize("name", bundled(SCENARIOS))
def test_every_bundled_scenario_plans_and_renders(name: str) -> None:
    trials = expand(
        load_scenario(name, overlay_names()),
        lambda _trial: {("a", "b"): ("direct",)},
        lambda name, mode: helpers_of(load_overlay(name), mode),
    )
    for overlay in {trial.overlay for trial in trials}:
        adapter = load_overlay(overlay)
        trial = next(t for t in trials if t.overlay == overlay)
        if trial.mode in adapter.modes:
            assert adapter.render(trial).members == set(trial.topology.members)


@pytest.mark.parametrize("name", bundled(TOPOLOGIES))
def test_every_bundled_topology_holds_together(name: str) -> None:
    topology = load_topology(name).resolve({})
    assert topology.server == "s"
    # The flat LAN of published comparisons is the one without a NAT.
    assert all(bool(topology.routers_of(member)) == (name != "flat-lan") for member in topology.members)
    assert topology.address("s").is_global


def test_names_that_scripts_use() -> None:
    two = load_topology("two-sites")
    assert set(two.parameters) == {"nat_a", "nat_b", "link_a", "link_b", "link_s", "helpers", "ip"}
    assert set(two.resolve({}).attachments()) == {"a", "b", "s", "ra", "rb"}
    same = load_topology("same-site")
    assert "nat" in same.parameters
    assert set(same.resolve({}).attachments()) == {"a", "b", "s", "r"}
    carrier = load_topology("cgnat")
    assert {"nat_a", "nat_b", "nat_carrier"} <= set(carrier.parameters)
    assert carrier.resolve({}).routers_of("a") == ["ra", "rc"]
    parties = load_topology("parties").resolve({"n": 12, "nat": "symmetric"})
    assert set(parties.attachments()) == {"s", *(f"{kind}{i}" for kind in "pr" for i in range(1, 13))}


PARTIES = """\
description: x
topology: parties
params: {n: 4, nat: full-cone, link: fibre, links: {p3: lte}}
matrix: {nats: [{}, {p1: symmetric}, {p1: symmetric, p2: symmetric, p3: symmetric, p4: symmetric}]}
overlays: {underlay: }
probes: [path]
"""


def test_every_party_has_its_own_nat_and_link(tmp_path: Path) -> None:
    none, one, all_of_them = sorted(plan(tmp_path, PARTIES), key=lambda trial: len(trial.params["nats"]))
    labels = [[nat_label(trial.topology, member) for member in trial.topology.members] for trial in (none, one)]
    assert labels == [["full-cone"] * 4, ["symmetric", *["full-cone"] * 3]]
    assert [link_label(one.topology, member) for member in one.topology.members] == ["fibre", "fibre", "lte", "fibre"]
    assert {trial.link for trial in (none, one, all_of_them)} == {"link=fibre s=ideal p3=lte"}
    # A trial whose members differ has no two NATs of its own: those of each pair stand in its records.
    assert [(trial.nat_a, trial.nat_b) for trial in (none, one, all_of_them)] == [
        ("full-cone", "full-cone"),
        (None, None),
        ("symmetric", "symmetric"),
    ]
    assert len({trial.id for trial in (none, one, all_of_them)}) == 3


def test_two_parties_are_a_pair_with_nats_of_its_own(tmp_path: Path) -> None:
    text = PARTIES.replace("n: 4", "n: 2").replace("links: {p3: lte}", "links: {p2: lte}")
    (trial,) = plan(tmp_path, re.sub(r"matrix: .*", "", text).replace("nat: full-cone", "nats: {p2: symmetric}"))
    assert (trial.nat_a, trial.nat_b) == ("port-restricted", "symmetric")


OWN = """description: x
%s---
segments:
  internet: {subnet: 45.45.0.0/16}
  la: {subnet: 192.168.1.0/24}
  lb: {subnet: 192.168.2.0/24}
hosts:
  a: {on: la, address: 192.168.1.2, via: west}
  b: {on: lb, address: 192.168.2.2, via: east}
  s: {on: internet, address: 45.45.0.10}
routers:
  west: {nat: %s, outside: {on: internet, address: 45.45.1.1, link: %s}, inside: {on: la, address: 192.168.1.1}}
  east: {nat: %s, outside: {on: internet, address: 45.45.2.1}, inside: {on: lb, address: 192.168.2.1}}
members: [a, b]
server: s
"""


@pytest.mark.parametrize("swept", [False, True])
def test_nats_are_those_of_the_routers_whatever_parameters_are_called(tmp_path: Path, swept: bool) -> None:
    """A topology of one's own, its NATs fixed or swept as `left`: no parameter is called `nat_a`."""
    left = "parameters: {left: {type: nat, default: symmetric}}\n" if swept else ""
    nat = "{{ left }}" if swept else "symmetric"
    (tmp_path / "own.yaml").write_text(OWN % (left, nat, "lte", "port-restricted"))
    text = f"description: x\ntopology: {tmp_path}/own.yaml\noverlays: {{refmesh: mesh}}\nprobes: [path]\n"
    trials = plan(tmp_path, text + ("matrix: {left: [symmetric, full-cone]}\n" if swept else ""))
    labels = {(trial.nat_a, trial.nat_b, trial.link) for trial in trials}
    expected = {("symmetric", "port-restricted", "a=lte"), ("full-cone", "port-restricted", "a=lte")}
    assert labels == (expected if swept else {("symmetric", "port-restricted", "a=lte")})


@pytest.mark.parametrize("name", ["ds-lite-quick", "shared-address-space-quick", "same-site-quick", "smoke", "demo"])
def test_every_trial_of_two_members_names_all_routers_in_front_of_them(name: str) -> None:
    trials = expand(load_scenario(name, overlay_names()))
    carrier = name in {"ds-lite-quick", "shared-address-space-quick"}
    for trial in trials:
        assert [trial.nat_a, trial.nat_b] == [nat_label(trial.topology, member) for member in trial.topology.members]
        assert ("+cgn" in str(trial.nat_a)) is carrier


def test_what_no_party_is_given_is_no_condition(tmp_path: Path) -> None:
    text = re.sub(r"matrix: .*", "", PARTIES).replace(", links: {p3: lte}", "")
    (trial,) = plan(tmp_path, text)
    assert {"nats", "links"}.isdisjoint(trial.params), "runs from before these parameters stay the same cells"


def test_regions_have_public_nodes_of_their_own_and_distances_that_fit() -> None:
    source = load_topology("regions")
    topology = source.resolve({"n": 4, "helpers": 2, "place": "eu-as", "nats": {"p2": "symmetric"}})
    assert [topology.hosts[name].via for name in ("s", "s2", "s3")] == ["x_eu", "x_us", "x_as"]
    assert [nat_label(topology, member) for member in topology.members][:2] == ["port-restricted", "symmetric"]
    assert [topology.routers[f"r{number}"].outside.via for number in range(1, 5)] == ["x_eu", "x_as"] * 2
    with pytest.raises(ScenarioError, match="delay_ms"):
        source.resolve({"rtt_eu_as_ms": 500.0})


@pytest.mark.parametrize("ip", ["dual", "v6"])
def test_regions_have_ipv6_too_and_their_own_routers_tell_nothing_of_a_party(ip: str) -> None:
    given = {"n": 20, "helpers": 4, "server": "us", "nat": "dual-stack", "ip": ip}
    topology = load_topology("regions").resolve(given)
    assert {nat_label(topology, member) for member in topology.members} == {"dual-stack"}
    homes = [topology.segments[topology.hosts[name].on].of("ipv6") for name in topology.members]
    regions = [topology.segments[topology.routers[name].outside.on].of("ipv6") for name in ("x_eu", "r1", "r2", "r3")]
    shown = [one for one in (*homes, *regions) if one is not None]
    assert len(shown) == 24 and not any(one.overlaps(other) for one, other in itertools.combinations(shown, 2))
    known = {route.network: route.gateway for route in routes_of(topology, "x_eu") if route.family == "ipv6"}
    gateways = [known[str(home)] for home in homes[:4]]
    own = [str(topology.routers[name].outside.of("ipv6")[0]) for name in ("r1", "x_us", "x_as", "r4")]
    assert gateways == own, "within a region straight to the home, to others by their exchange"


def test_a_cell_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="the same cell appears twice: underlay_full-cone_r1"):
        plan(
            tmp_path,
            "description: x\ntopology: two-sites\nmatrix: {nat_a: [full-cone, full-cone]}\n"
            "overlays: {underlay: }\nprobes: [path]\n",
        )


def test_an_overlay_gets_the_public_nodes_it_needs_and_its_cell_stays_the_same(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(SWEEP)
    wants = {"nebula": 3}
    trials = expand(load_scenario(str(file), overlay_names()), helpers=lambda overlay, _mode: wants.get(overlay, 0))
    assert {(trial.overlay, trial.topology.helpers) for trial in trials} == {
        ("underlay", ()),
        ("openvpn", ()),
        ("nebula", ("s2", "s3", "s4")),
    }
    assert all("helpers" not in trial.params for trial in trials)
    some = next(trial for trial in trials if trial.overlay == "nebula")
    assert some.topology.routers_of("s4") == [] and some.topology.address("s4").is_global


def test_a_topology_without_helpers_refuses_an_overlay_that_needs_them(tmp_path: Path) -> None:
    (tmp_path / "bare.yaml").write_text(
        "description: x\n---\nsegments: {net: {subnet: 45.45.0.0/16}}\n"
        "hosts: {a: {on: net, address: 45.45.0.1}, b: {on: net, address: 45.45.0.2}}\nmembers: [a, b]\n"
    )
    file = tmp_path / "mine.yaml"
    file.write_text("description: x\ntopology: bare.yaml\noverlays:\n  nebula: mesh\nprobes: [path]\n")
    with pytest.raises(ScenarioError, match=r"mine.yaml:4: overlays.nebula: nebula mesh needs 2 public nodes") as error:
        expand(load_scenario(str(file), overlay_names()), helpers=lambda _overlay, _mode: 2)
    assert "no parameter `helpers`" in str(error.value)


@pytest.mark.parametrize("helper", ["nobody", "a", "s"])
def test_a_helper_is_a_public_node_of_its_own(tmp_path: Path, helper: str) -> None:
    text = (TOPOLOGIES / "two-sites.yaml").read_text().replace("helpers: [{%", f"helpers: [{helper}, {{%")
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(ScenarioError, match="helpers"):
        load_topology(str(tmp_path / "t.yaml")).resolve({})
