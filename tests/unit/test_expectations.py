"""What a scenario expects: the oracle's word for a trial, what is complained of, what was judged at all."""

from __future__ import annotations

import io
import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness.campaign.baselines import against_cell, figures_that_count
from harness.commands.concluding import conclude
from harness.model.expectation import ExpectedNumber
from harness.model.trial import Trial
from harness.overlay.registry import load_overlay, overlay_names
from harness.probes.throughput import ThroughputProbe
from harness.results.expectations import Expected, unmet
from harness.results.record import Record
from harness.results.run_judgement import judge_run
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
        ("two-sites", "nat_a: udp-blocked, nat_b: full-cone", "mesh", ("none",)),
        ("two-sites", "nat_a: udp-blocked, nat_b: full-cone", "relay", ("none",)),
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


def test_of_an_overlay_that_names_no_technique_nothing_is_expected(tmp_path: Path) -> None:
    nats = "nat_a: full-cone, nat_b: port-restricted"
    found = trial(tmp_path, "two-sites", nats, "ethereum", "mesh", "expect: oracle\n")
    assert (found.expected_path, found.expected_outcome) == ((), ())


def test_each_pair_of_parties_is_expected_by_its_own_nats(tmp_path: Path) -> None:
    nats = "n: 5, nat: port-restricted, nats: {p1: symmetric, p4: symmetric}"
    found = trial(tmp_path, "parties", nats, "nebula", "mesh", "expect: oracle\n")
    verdicts = expected_verdicts(found, load_overlay("nebula"))
    relayed = {pair for pair, right in verdicts.items() if right == ("relayed",)}
    # A symmetric NAT and a port-restricted one do not let each other in.
    assert len(verdicts) == 10 and relayed == {pair for pair in verdicts if {"p1", "p4"} & set(pair)}
    easier = trial(tmp_path, "parties", nats.replace("port-restricted", "full-cone"), "wireguard", "mesh")
    of_pairs = expected_verdicts(easier, load_overlay("wireguard"))
    assert [pair for pair, right in of_pairs.items() if right != ("direct",)] == [("p1", "p4")]
    # Who keeps the first path that works may end with the relay where one side alone can be entered.
    of_pairs = expected_verdicts(easier, load_overlay("nebula"))
    assert Counter(of_pairs.values()) == {("direct", "relayed"): 6, ("direct",): 3, ("relayed",): 1}


@pytest.mark.parametrize(
    ("topology", "params", "overlay", "mode", "expected"),
    [
        ("two-sites", "nat_a: udp-blocked", "refmesh", "mesh", ("relayed",)),
        ("two-sites", "nat_b: tls-only", "refmesh", "hub", ("relayed",)),
        ("two-sites", "nat_a: tls-only, nat_b: udp-blocked", "refmesh", "direct", ("none",)),
        ("two-sites", "nat_a: udp-blocked", "openvpn", "hub", ("none",)),
        ("two-sites", "nat_a: udp-blocked, nat_b: tls-only", "libp2p", "mesh", ("relayed",)),
        ("two-sites", "nat_a: udp-blocked", "libp2p", "mesh", ("direct", "relayed")),
        ("same-site", "nat: udp-blocked", "refmesh", "mesh", ("direct", "relayed")),
        ("two-sites", "nat_a: tls-only", "underlay", "underlay", ("direct",)),
    ],
)
def test_where_udp_is_blocked_the_oracle_takes_the_overlay_at_its_word(  # noqa: PLR0917
    tmp_path: Path, topology: str, params: str, overlay: str, mode: str, expected: tuple[str, ...]
) -> None:
    found = trial(tmp_path, topology, params, overlay, mode)
    assert expected_verdicts(found, load_overlay(overlay)) == {found.topology.members: expected}


def record(**changes: object) -> Record:
    plain = Record(
        run="r", scenario="s", trial="t", repeat=1, seed=1, overlay="nebula", mode="mesh", topology="two-sites",
        src="a", dst="b", probe="path", metric="connect_success", unit="1", value=1.0, path="direct", started_at="now",
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


END = record(probe="trial", metric="duration_s", path=None, evidence="trials/t")
FAILED = replace(END, outcome="failed", error="iperf3 a to b: control socket has closed")


def complaints(expected: Expected, *records: Record) -> list[str]:
    return unmet(expected, [one.as_dict() for one in records])


def test_only_what_differs_is_complained_of(tmp_path: Path) -> None:
    expect = "expect: [{path: direct, outcome: ok}]\n"
    found = Expected.of(trial(tmp_path, "two-sites", "", "nebula", "mesh", expect))
    assert complaints(found, record(), END) == []
    name = found.trial
    assert complaints(found, record(path="relayed"), END) == [f"{name}: a to b: expected path direct, it was relayed"]
    assert "expected ok, came out failed" in complaints(found, record(), replace(END, outcome="failed"))[0]
    assert "it was never measured" in complaints(found, END)[0]


@pytest.mark.parametrize("path", ["direct", "relayed", "none"])
def test_a_failed_trial_breaks_every_path_unless_that_is_allowed(path: str) -> None:
    """The daemon connects, as is expected, and loses its traffic under load: a UDP limit of 3 MB/s, say."""
    seen = record(path="direct", evidence="trials/t/pings.csv")
    expected = Expected("t", "t", paths=(path,))  # type: ignore[arg-type]
    (first, *rest) = complaints(expected, seen, FAILED)
    assert first == f"t: expected path {path}, but the trial failed: iperf3 a to b: control socket has closed"
    assert rest == ([] if path == "direct" else [f"t: a to b: expected path {path}, it was direct"])
    assert complaints(replace(expected, outcomes=("ok", "failed")), seen, FAILED) == rest


def test_no_path_is_what_was_found_and_not_what_a_dead_daemon_leaves() -> None:
    why = "no overlay packet was answered within 5 s"
    none = record(path="none", value=0.0, outcome="failed", error=why, evidence="trials/t/pings.csv")
    expected = Expected("t", "t", paths=("none",))
    assert complaints(expected, none, replace(END, outcome="failed", error=why)) == []
    died = "nebula on a died with status 1: no route"
    never = replace(none, error=died, evidence="trials/t")
    assert complaints(expected, never, replace(FAILED, error=died)) == [
        f"t: expected path none, but the trial failed: {died}"
    ]
    wanted = Expected("t", "t", paths=("direct",))
    assert complaints(wanted, none, replace(END, outcome="failed", error=why)) == [
        f"t: expected path direct, but the trial failed: {why}"
    ]


def test_what_is_unsupported_or_shows_nothing_is_no_success_of_what_was_expected() -> None:
    unsupported = replace(END, outcome="unsupported", error="nebula has no mode hub")
    assert (
        "but the trial is unsupported: nebula has no mode hub"
        in complaints(Expected("t", "t", ("relayed",)), unsupported)[0]
    )
    assert complaints(Expected("t", "t", ("relayed",), ("unsupported",)), unsupported) == []
    invalid = replace(END, outcome="invalid", error="link late")
    assert (
        "shows nothing, it is invalid: link late" in complaints(Expected("t", "t", ("direct",)), record(), invalid)[0]
    )
    assert complaints(Expected("t", "t"), invalid) == []


def test_a_pair_is_complained_of_by_what_is_expected_of_it(tmp_path: Path) -> None:
    file = tmp_path / "five.yaml"
    file.write_text(
        "description: x\ntopology: parties\nparams: {n: 5, nat: full-cone, nats: {p1: symmetric, p4: symmetric}}\n"
        "overlays: {wireguard: mesh}\nprobes: [path]\nexpect: oracle\n"
    )
    (found,) = plan_trials(str(file)).trials
    expected = Expected.of(found)
    assert (expected.some_path, expected.text) == ("9 direct, 1 relayed", "path 9 direct, 1 relayed")
    assert (expected.paths_of("p4", "p1"), expected.paths_of("p2", "p1")) == (("relayed",), ("direct",))
    assert Expected.planned(found.model_dump(mode="json", exclude={"topology"})) == expected
    pairs = list(itertools.combinations(found.topology.members, 2))
    right = [record(src=a, dst=b, path="relayed" if (a, b) == ("p1", "p4") else "direct") for a, b in pairs]
    assert complaints(expected, *right, END) == []
    direct = [replace(one, path="direct") for one in right]
    assert complaints(expected, *direct, END) == [f"{found.id}: p1 to p4: expected path relayed, it was direct"]
    (complaint,) = complaints(expected, replace(END, outcome="invalid"))
    assert "expected path 9 direct, 1 relayed, but the trial shows nothing" in complaint


def test_a_run_that_judges_nothing_says_so_and_one_that_does_says_how_much() -> None:
    rows = [one.as_dict() for one in (record(), FAILED)]
    nothing = judge_run([Expected("t", "t"), Expected("later", "t", ("direct",))], rows)
    assert (nothing.judged, nothing.as_expected) == (0, True)
    assert nothing.text.startswith("nothing was judged: the scenario expects nothing of 1 trial (1 failed)")
    assert "no trial has finished" in judge_run([Expected("later", "t", ("direct",))], []).text
    number = ExpectedNumber(metric="added_rtt_p50_ms", max=5)
    found = judge_run([Expected("t", "t", numbers=(number,))], rows)
    assert found.text == "judged: 1 of 1 trial, 1 number: 1 not measured"
    assert not found.as_expected and "but the trial failed" in found.complaints[0]


@pytest.mark.parametrize(
    ("values", "judgement", "code"),
    [
        ([4.0, 4.2, 4.1] * 2, "met", 0),
        ([4.0, 4.2], "not decided", 0),
        ([4.0, 6.0] * 3, "not decided", 0),
        ([6.0, 6.2], "against it", 1),
        ([6.0, 6.2, 6.1] * 2, "not met", 1),
        ([], "not measured", 1),
    ],
)
def test_a_number_decides_the_exit_code_where_it_is_decided(values: list[float], judgement: str, code: int) -> None:
    rows = []
    repeats = max(2, len(values))
    for number in range(repeats):
        same = {"trial": f"t{number}", "repeat": number}
        measured = {"probe": "latency", "metric": "added_rtt_p50_ms", "unit": "ms", "path": None}
        rows += [record(**same, **measured, value=value) for value in values[number : number + 1]]
        rows += [replace(END, **same)]
    bound = ExpectedNumber(metric="added_rtt_p50_ms", max=5)
    expected = [Expected(f"t{number}", "cell", numbers=(bound,)) for number in range(repeats)]
    said = io.StringIO()
    found = conclude(judge_run(expected, [row.as_dict() for row in rows]), Console(file=said, width=200))
    assert found == code
    assert f"\n{judgement}: cell: expected added_rtt_p50_ms at most 5 ms, it was" in said.getvalue()


def test_what_is_expected_is_read_from_a_plan_as_from_a_trial(tmp_path: Path) -> None:
    expect = "expect: [{path: [direct, relayed], time_to_connect_s: {max: 2, path: direct}}]\n"
    planned = trial(tmp_path, "two-sites", "", "nebula", "mesh", expect)
    entry = planned.model_dump(mode="json", exclude={"topology"})
    assert Expected.planned(entry) == Expected.of(planned)
    assert Expected.of(planned).cell_id == "nebula_mesh"


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


def test_who_gets_nothing_out_need_not_become_ready(tmp_path: Path) -> None:
    text = (
        "description: x\ntopology: two-sites\nparams: {nat_a: udp-blocked, nat_b: port-restricted}\n"
        "overlays: {underlay: , openvpn: hub, openvpn-tcp: hub}\nprobes: [path]\nexpect: oracle\n"
    )
    (tmp_path / "mine.yaml").write_text(text)
    found = {trial.overlay: trial for trial in plan_trials(str(tmp_path / "mine.yaml")).trials}
    assert found["openvpn"].expected_path == ("none",)
    assert found["openvpn"].expected_outcome == ("ok", "failed")
    assert found["openvpn-tcp"].expected_path == ("relayed",) and found["openvpn-tcp"].expected_outcome == ()
