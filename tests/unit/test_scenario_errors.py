"""Bad input: every complaint names file, line and field, all of them come in one go, and the exit code is 2."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.errors import ScenarioError
from harness.model.probes import declared_probes
from harness.overlay.registry import overlay_names
from harness.scenario.load import load_scenario, load_topology
from harness.scenario.plan import expand
from harness.scenario.planned import plan_trials

GOOD = """\
description: fine
topology: two-sites
matrix:
  nat_a: [full-cone, symmetric]
overlays:
  underlay:
probes: [path]
"""


def problems_of(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "scenario.yaml"
    file.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        expand(load_scenario(str(file), overlay_names()))
    return [str(problem).removeprefix(f"{file}:") for problem in caught.value.problems]


def test_a_good_scenario_expands(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(GOOD)
    assert len(expand(load_scenario(str(file), overlay_names()))) == 2


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            ("nat_a: [full", "nat_c: [full"),
            "4: matrix.nat_c: topology two-sites has no parameter nat_c (did you mean nat_b?)",
        ),
        (("symmetric", "symetric"), "4: matrix.nat_a[1]: unknown NAT 'symetric' (did you mean symmetric?)"),
        (
            ("symmetric", "{port_allocation: preserving, port_step: 2}"),
            "4: matrix.nat_a[1]: port_step is for sequential allocation; preserving ports cannot follow a sequence too",
        ),
        (
            ("symmetric", "{alias: symmetric, pool_size: 2}"),
            "4: matrix.nat_a[1]: router ra: pool_size 2 needs as many WAN addresses; ra-eth0 has 1",
        ),
        (
            ("symmetric", "{alias: cgn, port_block_size: 32768}"),
            "4: matrix.nat_a[1]: router ra: 2 subscribers x 32768 ports need 2 external addresses; the pool has 1",
        ),
        (("probes: [path]", "probes: [pathh]"), "7: probes.pathh: unknown key (did you mean path?)"),
        (
            ("probes: [path]", "probes: {path: {deadline_s: soon}}"),
            "7: probes.path.deadline_s: input should be a valid number",
        ),
        (
            ("[full-cone, symmetric]", "[]"),
            "4: matrix.nat_a: needs at least one value: with none the matrix expands to nothing",
        ),
        (("  underlay:", "  underlai:"), "6: overlays.underlai: unknown overlay (did you mean underlay?)"),
        (
            ("two-sites", "two-site"),
            "2: topology: no such file, and no bundled topology of that name (did you mean two-sites?)",
        ),
        (("description: fine", "description: fine\ndescription: twice"), "2: description: this key appears twice"),
        (("[full-cone, symmetric]", "[full-cone"), "5: (syntax): this is not YAML"),
        (("description: fine\n", ""), "1: description: missing"),
    ],
)
def test_complaint(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    text = GOOD.replace(*change)
    assert text != GOOD
    found = problems_of(tmp_path, text)
    assert len(found) == 1
    assert found[0].startswith(complaint)


PARTIES = """\
description: fine
topology: parties
params:
  n: 4
  nats:
    p1: symmetric
    p2: {alias: cgn, udp_lifetime_s: 60}
  links: {p3: lte}
overlays: {underlay: }
probes: [path]
"""


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("p1: symmetric", "p1: symetric"), "6: params.nats.p1: unknown NAT 'symetric' (did you mean symmetric?)"),
        (("udp_lifetime_s", "udp_lifetime"), "7: params.nats.p2: unknown NAT axis 'udp_lifetime' (did you mean"),
        (("{p3: lte}", "{p3: ltte}"), "8: params.links.p3: no link preset 'ltte' (did you mean lte?)"),
        (("p1: sym", "p9: sym"), "6: params.nats.p9: p9 is no member: there are p1, p2, p3, p4"),
        (("{p3: lte}", "{p3: lte, s: lte}"), "8: params.links.s: s is no member: there are p1, p2, p3, p4"),
        (("{p3: lte}", "[lte]"), "8: params.links: expected a mapping from members to a link each, got ['lte']"),
        (("{p3: lte}", "{3: lte}"), "8: params.links.3: 3 is no member: there are p1, p2, p3, p4"),
        (
            ("symmetric", "{alias: symmetric, pool_size: 2}"),
            "6: params.nats.p1: router r1: pool_size 2 needs as many WAN addresses; r1-eth0 has 1",
        ),
        (
            ("  links: {p3: lte}\n", "matrix:\n  links: [{p3: lte}, {p3: lte, p7: lte}]\n"),
            "9: matrix.links[1].p7: p7 is no member: there are p1, p2, p3, p4",
        ),
    ],
)
def test_complaint_of_a_member(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    text = PARTIES.replace(*change)
    assert text != PARTIES
    (found,) = problems_of(tmp_path, text)
    assert found.startswith(complaint)


def test_all_complaints_come_in_one_go(tmp_path: Path) -> None:
    text = GOOD.replace("symmetric", "symetric").replace("probes: [path]", "probes: [path]\nrepeats: 0\nsedd: 2")
    assert [found.split(":")[1].strip() for found in problems_of(tmp_path, text)] == [
        "matrix.nat_a[1]",
        "repeats",
        "sedd",
    ]


def test_a_cell_baseline_needs_the_underlay(tmp_path: Path) -> None:
    text = GOOD.replace("  underlay:", "  openvpn: hub").replace("[path]", "{throughput: {baseline: cell}}")
    assert problems_of(tmp_path, text) == ["7: probes.throughput.baseline: `cell` needs `underlay` among the overlays"]


def test_a_missing_required_parameter_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "description: needs n\nparameters:\n  n: {type: int, required: true, help: how many}\n---\n"
        "segments: {net: {subnet: 10.0.0.0/24}}\nhosts:\n  {% for i in range(n) %}\n"
        "  h{{ i }}: {on: net, address: 10.0.0.{{ i + 1 }}}\n  {% endfor %}\nmembers: [h0]\n"
    )
    text = "description: x\ntopology: mine.yaml\noverlays: {underlay: }\nprobes: [path]\n"
    assert problems_of(tmp_path, text) == ["2: topology: topology mine needs the parameter n (int): how many"]


def test_template_errors_carry_the_templates_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(
        "description: broken\nparameters:\n  n: {type: int, default: 3}\n---\n"
        "segments: {net: {subnet: 10.0.0.0/24}}\nhosts:\n"
        "  {% for i in range(n) %}\n  h{{ i }}: {on: net, address: 10.0.0.{{ i + 1 }}}\n  {% endfor %}\n"
        "  z: {on: nett, address: 10.0.0.9, vai: x}\nmembers: [h0]\n"
    )
    with pytest.raises(ScenarioError) as caught:
        load_topology(str(file)).resolve({})
    assert [str(problem) for problem in caught.value.problems] == [
        f"{file}:10: hosts.z.vai: unknown key (did you mean via?)"
    ]


def test_an_undeclared_template_variable_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "undeclared.yaml"
    file.write_text("description: x\nparameters: {}\n---\nsegments: {net: {subnet: {{ subnett }}}}\nmembers: []\n")
    with pytest.raises(ScenarioError, match=r"undeclared.yaml:4: \(template\): the header has no parameter subnett"):
        load_topology(str(file))


@pytest.mark.parametrize(
    "arguments", [["run", "x", "--only", "nonsense"], ["run", "demo", "--resume"], ["list", "nets"]]
)
def test_usage_errors_exit_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, arguments).exit_code == 2


def test_no_probe_at_all_is_an_error_that_names_them(tmp_path: Path) -> None:
    (complaint,) = problems_of(tmp_path, GOOD.replace("[path]", "[]"))
    assert complaint.startswith("7: probes:")
    assert f"name at least one probe: {', '.join(declared_probes())}" in complaint


@pytest.mark.parametrize(
    ("overlay", "complaint"),
    [
        (
            "refmesh: {modes: mesh, options: {mut: 1400}}",
            "4: overlays.refmesh.options.mut: unknown key (did you mean mtu?)",
        ),
        (
            "openvpn: {modes: hub, options: {port: 70000}}",
            "4: overlays.openvpn.options.port: input should be less than",
        ),
        (
            "wireguard: {modes: hub, options: {implementation: rust}}",
            "4: overlays.wireguard.options.implementation: expected",
        ),
        ("n2n: {modes: mesh, options: {key: x}}", "4: overlays.n2n.options: n2n takes no options, not key"),
    ],
)
def test_an_overlays_options_are_checked_like_everything_else(tmp_path: Path, overlay: str, complaint: str) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(f"description: fine\ntopology: two-sites\noverlays:\n  {overlay}\nprobes: [path]\n")
    with pytest.raises(ScenarioError) as caught:
        plan_trials(str(file))
    assert f"{file}:{complaint}" in str(caught.value)
