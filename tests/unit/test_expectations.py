"""What a scenario expects: the oracle's word for a trial, and what is complained of; throughput against its cell."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from harness.campaign.baselines import against_cell, figures_that_count
from harness.campaign.outcomes import unmet
from harness.model.trial import Trial
from harness.overlay.registry import load_overlay, overlay_names
from harness.probes.throughput import ThroughputProbe
from harness.results.record import Record
from harness.scenario.expected import expected_verdicts
from harness.scenario.load import load_scenario
from harness.scenario.plan import expand
from harness.scenario.planned import plan_trials


def trial(  # noqa: PLR0917  # one word a field of the scenario
    tmp_path: Path, topology: str, params: str, overlay: str, mode: str, expect: str = ""
) -> Trial:
    file = tmp_path / "one.yaml"
    file.write_text(
        f"description: x\ntopology: {topology}\nparams: {{{params}}}\noverlays: {{{overlay}: {mode}}}\n"
        f"probes: [path]\n{expect}"
    )
    (found,) = expand(load_scenario(str(file), overlay_names()))
    return found


@pytest.mark.parametrize(
    ("topology", "params", "mode", "expected"),
    [
        ("two-sites", "nat_a: port-restricted, nat_b: port-restricted", "mesh", ("direct",)),
        ("two-sites", "nat_a: symmetric, nat_b: symmetric", "mesh", ("relayed",)),
        ("two-sites", "nat_a: udp-blocked, nat_b: full-cone", "mesh", ("relayed",)),
        ("two-sites", "nat_a: udp-blocked, nat_b: full-cone", "direct", ("none",)),
        ("two-sites", "nat_a: full-cone, nat_b: full-cone", "relay", ("relayed",)),
        ("same-site", "nat: symmetric", "mesh", ("direct",)),
        ("cgnat", "nat_carrier: port-restricted", "mesh", ("relayed",)),
    ],
)
def test_the_oracle_of_a_trial(
    tmp_path: Path, topology: str, params: str, mode: str, expected: tuple[str, ...]
) -> None:
    found = trial(tmp_path, topology, params, "nebula", mode)
    assert expected_verdicts(found, load_overlay("nebula")) == {found.topology.members: expected}


def test_each_pair_of_parties_is_expected_by_its_own_nats(tmp_path: Path) -> None:
    nats = "n: 5, nat: port-restricted, nats: {p1: symmetric, p4: symmetric}"
    found = trial(tmp_path, "parties", nats, "nebula", "mesh", "expect: oracle\n")
    verdicts = expected_verdicts(found, load_overlay("nebula"))
    relayed = {pair for pair, right in verdicts.items() if right == ("relayed",)}
    # A symmetric NAT and a port-restricted one do not let each other in.
    assert len(verdicts) == 10 and relayed == {pair for pair in verdicts if {"p1", "p4"} & set(pair)}
    easier = trial(tmp_path, "parties", nats.replace("port-restricted", "full-cone"), "nebula", "mesh")
    of_pairs = expected_verdicts(easier, load_overlay("nebula"))
    assert [pair for pair, right in of_pairs.items() if right != ("direct",)] == [("p1", "p4")]


def test_a_pair_is_complained_of_by_what_is_expected_of_it(tmp_path: Path) -> None:
    file = tmp_path / "five.yaml"
    file.write_text(
        "description: x\ntopology: parties\nparams: {n: 5, nat: full-cone, nats: {p1: symmetric, p4: symmetric}}\n"
        "overlays: {nebula: mesh}\nprobes: [path]\nexpect: oracle\n"
    )
    (found,) = plan_trials(str(file)).trials
    assert found.expected_text == "9 direct, 1 relayed"
    assert (found.expected_of("p4", "p1"), found.expected_of("p2", "p1")) == (("relayed",), ("direct",))
    end = record(probe="trial", metric="duration_s", path=None)
    pairs = list(itertools.combinations(found.topology.members, 2))
    right = [record(src=a, dst=b, path="relayed" if (a, b) == ("p1", "p4") else "direct") for a, b in pairs]
    assert unmet(found, [*right, end]) == []
    direct = [replace(one, path="direct") for one in right]
    assert unmet(found, [*direct, end]) == [f"{found.id}: p1 to p4: expected path relayed, it was direct"]
    (complaint,) = unmet(found, [replace(end, outcome="invalid")])
    assert "expected 9 direct, 1 relayed, but the trial shows nothing" in complaint


def record(**changes: object) -> Record:
    plain = Record(
        run="r", scenario="s", trial="t", repeat=1, seed=1, overlay="nebula", mode="mesh", topology="two-sites",
        src="a", dst="b", probe="path", metric="connect_success", unit="1", value=1.0, path="direct", started_at="now",
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_only_what_differs_is_complained_of(tmp_path: Path) -> None:
    expect = "expect: [{path: direct, outcome: ok}]\n"
    found = trial(tmp_path, "two-sites", "", "nebula", "mesh", expect)
    end = record(probe="trial", metric="duration_s", path=None)
    assert unmet(found, [record(), end]) == []
    assert unmet(found, [record(path="relayed"), end]) == [f"{found.id}: a to b: expected path direct, it was relayed"]
    assert "expected ok, came out failed" in unmet(found, [record(), replace(end, outcome="failed")])[0]
    assert "it was never measured" in unmet(found, [end])[0]


def test_a_cells_underlay_gives_each_direction_its_ratio() -> None:
    forward = record(probe="throughput", metric="tcp_throughput_mbit", unit="Mbit/s", value=40.0, path=None)
    backward = replace(forward, src="b", dst="a", value=30.0)
    bare = replace(forward, value=50.0, evidence="trials/underlay/underlay-a-b-iperf3-forward.json")
    below = figures_that_count([bare, replace(backward, value=60.0)])
    ratios = {
        (one.src, one.dst): one.value
        for one in against_cell([forward, backward], below, ThroughputProbe.of_cell)
        if one.metric == "tcp_throughput_ratio"
    }
    assert ratios == {("a", "b"): 0.8, ("b", "a"): 0.5}
    assert against_cell([forward], {}, ThroughputProbe.of_cell) == [forward]
    assert against_cell([forward], below, ()) == [forward]
    (kept,) = (
        one
        for one in against_cell([forward], below, ThroughputProbe.of_cell)
        if one.metric == "underlay_tcp_throughput_mbit"
    )
    assert (kept.value, kept.evidence) == (50.0, bare.evidence)
