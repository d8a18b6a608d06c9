"""What products ask routers for: declared by their adapters, and counted where a router speaks one of the protocols."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.model.nat import parse_nat
from harness.model.nat_words import PortMappingProtocol
from harness.nat.oracle import ALL_PROTOCOLS, expected_path
from harness.overlay.named_file import load_named_file
from harness.overlay.registry import load_overlay, overlay_names
from harness.overlay.support import asks_by
from harness.results.agreement import WorldCounts, agreement
from harness.scenario.expected import expected_verdicts
from harness.scenario.load import POPULATIONS, load_scenario
from harness.scenario.plan import expand
from harness.simulation.describe import described
from harness.simulation.load import LoadedPopulation, load_population

UPNP, PMP, PCP = PortMappingProtocol.UPNP_IGD, PortMappingProtocol.NAT_PMP, PortMappingProtocol.PCP
MAPS = {"alias": "symmetric", "port_mapping": ["nat-pmp", "pcp"]}


def population(folder: Path, router: Any, **says: Any) -> LoadedPopulation:
    path = folder / "small.yaml"
    access = {
        "maps": {"share": 0.5, "routers": [router]},
        "strict": {"share": 0.5, "routers": ["port-restricted"]},
    }
    path.write_text(yaml.safe_dump({"description": "small", "access": access, **says}, sort_keys=False))
    return load_population(str(path), POPULATIONS)


def test_who_asks_routers_is_said_by_each_adapter() -> None:
    said = {name: asks_by(load_overlay(name), {}) for name in overlay_names()}
    assert {name: found for name, found in said.items() if found} == {
        **{key: {UPNP, PMP, PCP} for key in ("refmesh", "refmesh-tap", "tailscale", "iroh")},
        **{key: {UPNP, PMP} for key in ("zerotier", "easytier", "ethereum", "bittorrent")},
    }


@pytest.mark.parametrize(
    ("option", "protocols"),
    [({}, {UPNP, PMP, PCP}), (True, {UPNP, PMP, PCP}), (False, set()), (["pcp"], {PCP}), (None, {UPNP, PMP, PCP})],
)
def test_an_option_that_takes_it_away_is_heard(option: Any, protocols: set[PortMappingProtocol]) -> None:
    options = option if isinstance(option, dict) else {"port_mapping": option}
    assert asks_by(load_overlay("refmesh"), options) == protocols


def test_a_port_is_had_where_the_two_have_a_protocol_in_common() -> None:
    router, other = parse_nat(MAPS), parse_nat("symmetric")
    for asked, path in (({UPNP}, "relayed"), ({UPNP, PMP}, "direct"), ({PCP}, "direct"), ((), "relayed")):
        assert expected_path([router], [other], "peer-reflexive", asks_by=asked).path == path, asked
        assert expected_path([router, parse_nat("cgn")], [other], "peer-reflexive", asks_by=asked).path == "relayed"
    # A plain overlay believes no other address: its peer must be EIM, or get a port as well.
    assert expected_path([router], [other], "plain", asks_by=ALL_PROTOCOLS).path == "relayed"
    assert expected_path([router], [router], "plain", asks_by=ALL_PROTOCOLS).path == "direct"


@pytest.mark.parametrize(
    ("overlay", "verdicts"),
    [
        ("nebula", ("relayed",)),
        ("wireguard", ("relayed",)),
        ("tailscale", ("direct", "relayed")),
        ("zerotier", ("direct", "relayed")),
        ("{refmesh: {modes: direct, options: {port_mapping: false}}}", ("direct", "none")),
    ],
)
def test_a_lab_whose_routers_map_ports_expects_them_of_those_who_ask(
    tmp_path: Path, overlay: str, verdicts: tuple[str, ...]
) -> None:
    """The oracle of a lab that maps ports called a direct path wrong."""
    file = tmp_path / "one.yaml"
    use = overlay if overlay.startswith("{") else f"{{{overlay}: mesh}}"
    file.write_text(
        "description: x\ntopology: two-sites\nprobes: [path]\n"
        f"params: {{nat_a: {yaml.safe_dump(MAPS, default_flow_style=True).strip()}, nat_b: port-restricted}}\n"
        f"overlays: {use}\n"
    )
    (trial,) = expand(load_scenario(str(file), overlay_names()))
    assert expected_verdicts(trial, load_overlay(trial.overlay)) == {trial.topology.members: verdicts}


def test_what_products_would_reach_counts_the_ports_that_they_are_given(tmp_path: Path) -> None:
    def rows(router: Any) -> dict[str, dict[str, Any]]:
        return {row["overlay"]: row for row in described(population(tmp_path, router))["declared"]}

    without, pmp, upnp = rows("symmetric"), rows(MAPS), rows({"alias": "symmetric", "port_mapping": ["upnp-igd"]})
    # Half of all pairs have a symmetric NAT and a strict one, a quarter two symmetric ones.
    for name in ("tailscale", "iroh", "zerotier", "bittorrent"):
        assert without[name]["pairs"] == pytest.approx(0.25), name
        assert pmp[name]["pairs"] == upnp[name]["pairs"] == pytest.approx(1.0), name
    for name in ("nebula", "wireguard", "n2n", "tinc", "libp2p", "ipfs", "netbird"):
        assert pmp[name]["pairs"] == pytest.approx(without[name]["pairs"]), name
        assert not pmp[name]["port_mapping"]
    assert pmp["tailscale"]["asks_by"] == ["nat-pmp", "pcp", "upnp-igd"]
    assert pmp["refmesh"]["pairs"] == pytest.approx(1.0)


def test_a_lab_is_held_against_the_condition_that_asks_where_a_router_answers(tmp_path: Path) -> None:
    loaded = population(tmp_path, MAPS, matrix={"technique": "birthday", "port_mapping": [False, True]})
    said = described(loaded)
    label = said["access"]["maps"]["nat"]
    lab = [
        {"overlay": "refmesh", "mode": "mesh", "nats": sorted(nats), "successes": 1, "runs": 1}
        for nats in ((label, "port-restricted"), ("port-restricted", "port-restricted"))
    ]
    cells = agreement(said | {"emulated": lab}, WorldCounts(), "refmesh")
    held = {(cell.first, cell.second, cell.params["port_mapping"]) for cell in cells if cell.emulated is not None}
    strict = ("strict", "strict")
    assert held == {("maps", "strict", True), (*strict, False), (*strict, True)}


def test_a_written_adapter_says_it_as_well(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "own-daemon.md").read_text()
    example = next(block.split("```")[0] for block in text.split("```yaml\n") if "layer:" in block)
    path = tmp_path / "mine.yaml"
    path.write_text(example + "asks_by: [nat-pmp]\n")
    overlay = load_named_file(str(path)).overlay
    assert asks_by(overlay, {}) == {PMP}
