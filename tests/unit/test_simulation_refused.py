"""A wrong population file is refused with file, line and field, and in words of populations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from harness.cli import cli
from harness.commands.kinds import kind_of
from harness.errors import ScenarioError
from harness.scenario.load import POPULATIONS, SCENARIOS, TOPOLOGIES
from harness.simulation.load import load_population

SMALL: dict[str, Any] = {
    "description": "small",
    "access": {"a": {"share": 0.5, "routers": ["port-restricted"]}, "b": {"share": 0.5, "routers": ["cgn"]}},
    "matrix": {"technique": ["plain", "birthday"], "group": [2, 3]},
    "worlds": 2,
    "churn": {"members": 3, "networks": 2, "seconds": 60, "every_s": 10},
}
ONE = {"share": 1.0}


@pytest.mark.parametrize(
    ("change", "field", "line", "text"),
    [
        (
            {"access": {"a": ONE | {"routers": ["port-restrictd"]}}},
            "access.a.routers",
            "routers:",
            "did you mean port-",
        ),
        ({"access": {"a": {"share": 0.7}}}, "access", "access:", "the shares add up to 0.7"),
        ({"access": {"a": {"share": float("nan")}}}, "access.a.share", "share:", "finite number"),
        (
            {"access": {"a": ONE | {"routers": ["cgn"], "together": {"share": 0.1, "layers": 2}}}},
            "access.a.together.layers",
            "layers: 2",
            "2: there are 1 routers to share",
        ),
        (
            {"access": {"a": ONE | {"routers": ["cgn"], "ipv6": True}}},
            "access.a.ipv6",
            "ipv6: true",
            "forwards no IPv6",
        ),
        ({"access": {"a": ONE | {"routers": ["ipv6-only"]}}}, "access.a.routers", "routers:", "no IPv4"),
        (
            {"access": {"a": ONE | {"routers": ["mtu-black-hole"]}}},
            "access.a.routers",
            "routers:",
            "carries 1500 bytes",
        ),
        (
            {"access": {"a": ONE | {"routers": [{"mss_clamping": False}]}}},
            "access.a.routers",
            "routers:",
            "carries 1500 bytes",
        ),
        (
            {"access": {"a": {"share": 0.9}, "b": {"share": 0.1, "routers": ["cgn"], "together": {"share": 0.02}}}},
            "access.b.together.share",
            "share: 0.02",
            "0.02 of all pairs, of which 0.01 are of that type",
        ),
        ({"worlds": True}, "worlds", "worlds:", "valid integer"),
        ({"matrix": {"technique": "magic"}}, "matrix.technique", "technique:", "expected 'plain'"),
        ({"matrix": {"group": [11]}}, "matrix.group[0]", "- 11", "less than or equal to 10"),
        ({"matrix": {"group": [3, 3]}}, "matrix.group", "group:", "twice"),
        ({"matrix": {"also": [{"technique": "plain"}]}}, "matrix.also", "also:", "among the combinations"),
        ({"matrix": {"also": [{"port_mapping": True}]}}, "matrix.also[0].technique", "- port_mapping:", "missing"),
        ({"engine": "nebula"}, "engine", "engine:", "no simulated engine"),
        ({"world": 3}, "world", "world:", "did you mean worlds"),
        (
            {
                "bands": [
                    {"name": "x", "low_percent": 9, "high_percent": 8, "of": "NATs", "conditions": "", "source": ""}
                ]
            },
            "bands[0].low_percent",
            "low_percent:",
            "greater than high_percent",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_line_and_field(
    tmp_path: Path, change: dict[str, Any], field: str, line: str, text: str
) -> None:
    says = {key: value for key, value in SMALL.items() if key != "churn"} | change
    problem = refused(tmp_path, says)
    assert problem.field == field
    assert text in problem.text, problem
    assert line in (tmp_path / "small.yaml").read_text().splitlines()[problem.line - 1]


@pytest.mark.parametrize(
    ("churn", "field", "text"),
    [
        ({"up_s": float("inf")}, "churn.up_s", "finite"),
        ({"up_s": 1e-9}, "churn.up_s", "greater than or equal to 0.1"),
        ({"roam_s": 1e-9}, "churn.roam_s", "0, or at least 0.1"),
        ({"seconds": 86400, "every_s": 0.1, "networks": 10_000}, "churn.every_s", "more than 1,000,000 times"),
        ({"server_down": {"at_s": 50, "for_s": 10}}, "churn.server_down", "not back within the 60 s"),
        ({"peers": 5}, "churn.peers", "fewer than the 6"),
    ],
)
def test_networks_that_would_never_end_are_refused(
    tmp_path: Path, churn: dict[str, Any], field: str, text: str
) -> None:
    """An infinite mean ended in a division by zero, a tiny one not at all."""
    problem = refused(tmp_path, SMALL | {"matrix": {"technique": "plain"}, "churn": SMALL["churn"] | churn})
    assert problem.field == field
    assert text in problem.text, problem
    assert f"{field.split('.')[1]}:" in (tmp_path / "small.yaml").read_text().splitlines()[problem.line - 1]


def test_networks_over_time_have_one_condition(tmp_path: Path) -> None:
    for name, matrix in (
        ("technique", {"technique": ["plain", "birthday"]}),
        ("also", {"technique": "plain", "also": [{"technique": "birthday"}]}),
    ):
        problem = refused(tmp_path, SMALL | {"matrix": matrix})
        assert (problem.field, "one value of each" in problem.text) == (f"matrix.{name}", True)


def refused(folder: Path, says: dict[str, Any]) -> Any:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(says, sort_keys=False))
    with pytest.raises(ScenarioError) as caught:
        load_population(str(path), POPULATIONS)
    (problem,) = caught.value.problems
    assert problem.file == str(path)
    return problem


def test_the_command_ends_with_2_and_names_the_place(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("description: x\naccess:\n  a: {share: 1, routers: [nonsense]}\n")
    done = CliRunner().invoke(cli, ["simulate", str(tmp_path / "p.yaml"), "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, ScenarioError)
    assert str(done.exception).startswith(f"{tmp_path}/p.yaml:3: access.a.routers: unknown NAT 'nonsense'")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        # Without `access`, or with it misspelt, it was read as a scenario, which has no topology.
        ("description: x\nworlds: 3\n", ["1: access: missing"]),
        (
            "description: x\nacess:\n  a: {share: 1.0, routers: [cgn]}\nmatrix: {technique: plain}\n",
            ["1: access: missing", "2: acess: unknown key (did you mean access?)"],
        ),
        ("description: x\nchurn: {members: 3}\nmatrix: {technique: plain}\n", ["1: access: missing"]),
        # With a second document it was read as a topology, whose header has no `access`.
        (
            "description: x\naccess:\n  a: {share: 1.0}\n---\nworlds: 3\n",
            ["4: (syntax): this is not YAML: expected a single document in the stream but found another document"],
        ),
        (
            "# mine\n---\ndescription: x\naccess:\n  a: {share: 0.5}\n",
            ["4: access: the shares add up to 0.5, not to 1"],
        ),
    ],
)
def test_check_tells_a_population_by_what_it_has(tmp_path: Path, text: str, problems: list[str]) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    done = CliRunner().invoke(cli, ["check", str(path)])
    assert isinstance(done.exception, ScenarioError)
    assert str(done.exception).splitlines() == [f"{path}:{problem}" for problem in problems]


def test_each_bundled_file_is_of_its_kind() -> None:
    folders = {"population": POPULATIONS, "scenario": SCENARIOS, "topology": TOPOLOGIES}
    for kind, folder in folders.items():
        files = sorted(folder.glob("*.yaml"))
        assert files
        assert {path.stem: kind_of(str(path)) for path in files} == {path.stem: kind for path in files}


@pytest.mark.parametrize(
    ("command", "file", "said"),
    [
        ("run", POPULATIONS / "levels.yaml", "no scenario, but a population: `overlaybench simulate` takes it"),
        ("plan", POPULATIONS / "levels.yaml", "no scenario, but a population: `overlaybench simulate` takes it"),
        ("run", TOPOLOGIES / "two-sites.yaml", "no scenario, but a topology"),
        ("simulate", SCENARIOS / "smoke.yaml", "no population, but a scenario: `overlaybench run` takes it"),
        ("simulate", TOPOLOGIES / "two-sites.yaml", "no population, but a topology"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_what_takes_it(command: str, file: Path, said: str) -> None:
    done = CliRunner().invoke(cli, [command, str(file)])
    assert isinstance(done.exception, ScenarioError)
    (problem,) = done.exception.problems
    assert said in problem.text and problem.file.endswith(file.name)
