"""Overlays named by their file: skeletons that keep the contract, mistakes told with file, line and field."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from extension import install, run

from harness.campaign.adapters import changed_adapters, keep_adapters
from harness.cli import cli
from harness.conformance.rendering import rendering_complaints, requirement_complaints
from harness.errors import ScenarioError
from harness.overlay.named_file import load_named_file
from harness.overlay.written import WrittenOverlay
from harness.scenario.planned import plan_trials

DOCS = Path(__file__).resolve().parents[2] / "docs" / "own-daemon.md"
SCENARIO = """\
description: mine
topology: two-sites
overlays:
  {overlay}: hub
probes: [path]
"""


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return what calls `overlaybench new` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli, ["new", *arguments])


def problems_of(overlay: str) -> list[str]:
    """Return what `check` says of a scenario with that overlay."""
    Path("mine.yaml").write_text(SCENARIO.format(overlay=overlay))
    with pytest.raises(ScenarioError) as caught:
        plan_trials("mine.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(("more", "named"), [([], "./my_vpn.py:MyVpn"), (["--yaml"], "./my-vpn.yaml")])
def test_the_skeleton_of_an_overlay_keeps_the_pure_half_and_runs_in_a_scenario(
    new: Callable[..., Result], more: list[str], named: str
) -> None:
    made = new("overlay", "my-vpn", *more)
    assert made.exit_code == 0, made.output
    assert f"contract {named}" in made.output
    checked = CliRunner().invoke(cli, ["contract", "--pure", named], standalone_mode=False)
    assert checked.output == "my-vpn hub: what it renders keeps the contract\n"
    Path("mine.yaml").write_text(SCENARIO.format(overlay=named))
    (trial,) = plan_trials("mine.yaml").trials
    assert (trial.overlay, trial.id) == ("my-vpn", "my-vpn_hub_r1")


@pytest.mark.parametrize("kind", ["probe", "event"])
def test_the_skeletons_of_probes_and_events_are_packages_that_a_scenario_can_use(
    new: Callable[..., Result], kind: str, tmp_path: Path
) -> None:
    assert new(kind, "my-own").exit_code == 0
    project = tomllib.loads(Path("my-own/pyproject.toml").read_text())["project"]
    ((group, points),) = project["entry-points"].items()
    module, attribute = points["my_own"].split(":")
    source = Path(f"my-own/{module}.py").read_text()
    environment = install(tmp_path, group=group, name="my_own", source=source, attribute=attribute)
    asked = {
        "probe": "probes: {path: , my_own: {attempts: 2}}",
        "event": "probes: [path, continuity]\ntimeline: [{at_s: 1, do: my_own, to: a, for_s: 1, hard: false}]",
    }
    Path("mine.yaml").write_text(SCENARIO.format(overlay="refmesh").replace("probes: [path]", asked[kind]))
    done = run(environment, "overlaybench", "check", "mine.yaml")
    assert (done.returncode, done.stdout) == (0, "mine.yaml: a scenario of 1 trials\n"), done.stderr


def test_the_skeleton_of_a_scenario_is_right(new: Callable[..., Result]) -> None:
    assert new("scenario", "mine").exit_code == 0
    assert len(plan_trials("mine.yaml").trials) == 12


def test_nothing_is_overwritten_and_names_are_checked(new: Callable[..., Result]) -> None:
    Path("mine.yaml").write_text("x")
    for arguments, said in (
        (("scenario", "mine"), "mine.yaml:0: new: exists already"),
        (("overlay", "My VPN"), "got 'My VPN'"),
    ):
        refused = new(*arguments)
        assert isinstance(refused.exception, ScenarioError) and said in str(refused.exception)
    assert Path("mine.yaml").read_text() == "x" and list(Path().iterdir()) == [Path("mine.yaml")]


WRONG_YAML = [
    ("layer: L3", "layr: L3", "mine-vpn.yaml:{}: layr: unknown key (did you mean layer?)"),
    ("on: server", "on: servers", "services[0].on: expected 'members', 'server', 'helpers' or 'all', got 'servers'"),
    ("needs_server: true", "needs_server: false", "services[0].on: there is no server without `needs_server`"),
    ("member.number", "membr.number", "mine-vpn.yaml:{}: services[0].run[3]: `membr` stands for nothing here"),
    (
        "{{ node.number }}.2\n  interface",
        "{{ node.numbr }}.2\n  interface",
        "endpoints.address: cannot be rendered",
    ),
    ("{{ node.number }}.2\n  interface", "{{ node.number }}.x\n  interface", "endpoints.address: value is not a valid"),
    ("{{ node.number }}.2\n  interface", "{{ node.number }.2\n  interface", "endpoints.address: this is no template"),
    ("      - log: listening on\n", "      - {}\n", "services[0].ready[0]: give one of `log`, `address` and `command`"),
    ("options:\n  port: 5000", "options:\n  Port: 5000", "options.Port."),
    ("  interface: tun0\n", "  interface: tun0\n  interface: tun1\n", "endpoints.interface: this key appears twice"),
    ("network: 10.20.0.0/16", "network: 10.20.0.0/31", "network: 3 nodes do not fit into 10.20.0.0/31"),
]


@pytest.mark.parametrize(("right", "wrong", "said"), WRONG_YAML, ids=[wrong for _, wrong, _ in WRONG_YAML])
def test_a_mistake_in_yaml_is_told_with_file_line_and_field(
    new: Callable[..., Result], right: str, wrong: str, said: str
) -> None:
    new("overlay", "mine-vpn", "--yaml")
    path = Path("mine-vpn.yaml")
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong))
    row = 1 + text[: text.index(right)].count("\n")
    problems = problems_of("./mine-vpn.yaml")
    assert any(said.format(row) in one for one in problems), problems
    assert all(re.match(r"mine-vpn\.yaml:[1-9]", one) for one in problems), problems


WRONG_PYTHON = [
    ("from ipaddress", "fro ipaddress", "vpn.py:{}: (syntax): this is not Python"),
    ("from ipaddress", "from ipadress", "vpn.py:{}: (import): ModuleNotFoundError: No module named 'ipadress'"),
    ("class Vpn:", "class Vpm:", "mine.yaml:4: overlays../vpn.py:Vpn: no such class (did you mean Vpm?)"),
    ("hub, own = leg", "hub, = leg", "vpn.py:{}: render (hub): ValueError"),
    ('name = "vpn"', 'nam = "vpn"', "Vpn.name: missing"),
    ('frozenset({"hub"})', 'frozenset({"hubb"})', "Vpn.modes: expected a set of mesh, direct, relay, hub"),
    ('layer: Layer = "L3"', 'layer = "L4"', "Vpn.layer: expected one of L2, L3, L7, got 'L4'"),
    ('name = "vpn"', 'name = "underlay"\n    options = None', "cannot be called underlay"),
]


@pytest.mark.parametrize(("right", "wrong", "said"), WRONG_PYTHON, ids=[wrong for _, wrong, _ in WRONG_PYTHON])
def test_a_mistake_in_python_is_told_with_file_line_and_field(
    new: Callable[..., Result], right: str, wrong: str, said: str
) -> None:
    new("overlay", "vpn")
    path = Path("vpn.py")
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong))
    row = 1 + text[: text.index(right)].count("\n")
    problems = problems_of("./vpn.py:Vpn")
    assert any(said.format(row) in one for one in problems), problems


def test_two_overlays_of_one_name_and_files_that_are_not_there_are_told_with_their_line(
    new: Callable[..., Result],
) -> None:
    new("overlay", "vpn", "--yaml")
    Path("other.yaml").write_text(Path("vpn.yaml").read_text())
    assert problems_of("./gone.yaml") == ["mine.yaml:4: overlays../gone.yaml: no such file"]
    assert problems_of("./vpn.yaml: hub\n  ./other.yaml") == [
        "mine.yaml:5: overlays../other.yaml: another overlay here is named vpn as well"
    ]


def test_options_are_checked_by_their_defaults(new: Callable[..., Result]) -> None:
    new("overlay", "vpn", "--yaml")
    (problem,) = problems_of("./vpn.yaml: {modes: hub, options: {port: many}}\n  underlay: underlay #")
    assert problem.startswith("mine.yaml:4: overlays.vpn.options.port: input should be a valid integer")
    Path("mine.yaml").write_text(
        SCENARIO.format(overlay="./vpn.yaml").replace(": hub", ": {modes: hub, options: {port: 6000}}")
    )
    planned = plan_trials("mine.yaml")
    (trial,) = planned.trials
    argv = planned.overlays["vpn"].render(trial).services[0].argv
    assert "UDP4-LISTEN:6000" in argv


def test_a_run_keeps_the_files_and_knows_when_they_change(new: Callable[..., Result], tmp_path: Path) -> None:
    new("overlay", "vpn", "--yaml")
    text = Path("vpn.yaml").read_text()
    manifest = {"adapters": keep_adapters({"vpn": load_named_file("./vpn.yaml")}, tmp_path)}
    assert (tmp_path / manifest["adapters"]["vpn"]["copy"]).read_text() == text
    assert changed_adapters(manifest, {"vpn": load_named_file("./vpn.yaml")}) == []
    Path("vpn.yaml").write_text(f"{text}# another\n")
    assert changed_adapters(manifest, {"vpn": load_named_file("./vpn.yaml")}) == [
        "the content of vpn.yaml, the overlay vpn"
    ]


def test_hosts_that_know_overlays_by_name_are_given_no_files(new: Callable[..., Result]) -> None:
    """One named like a registered overlay would be replaced by that one in silence."""
    new("overlay", "nebula", "--yaml")
    Path("mine.yaml").write_text(SCENARIO.format(overlay="./nebula.yaml"))
    Path("hosts.yaml").write_text("hosts: [{name: one, through: [sh, -c, 'exit 1']}]\n")
    refused = CliRunner().invoke(cli, ["run", "mine.yaml", "--hosts", "hosts.yaml"]).exception
    assert isinstance(refused, ScenarioError), refused
    assert "nebula.yaml:0: --hosts: nebula: an adapter that is named by its file runs on this machine" in str(refused)


def test_a_broken_contract_is_exit_code_1_and_a_sentence(new: Callable[..., Result]) -> None:
    new("overlay", "vpn", "--yaml")
    path = Path("vpn.yaml")
    path.write_text(path.read_text().replace("interface: tun0", "interface: a-name-that-is-too-long"))
    done = CliRunner().invoke(cli, ["contract", "--pure", "./vpn.yaml"], standalone_mode=False)
    assert done.return_value == 1
    assert "vpn hub: BROKEN: names p1's interface a-name-that-is-too-long" in done.output


@pytest.mark.parametrize(
    ("overlay", "given", "said"),
    [
        ("./vpn.yaml", "port=[1", "--set port: '[1' is no value of YAML: "),
        ("./vpn.yaml", "nosuch=1", "nosuch"),
        ("./vpn.yaml", "port=many", "--set port: input should be a valid integer"),
        ("./vpn.py:Vpn", "nosuch=1", "./vpn.py:Vpn:0: --set nosuch: unknown key"),
        ("nebula", "nosuch=1", "nebula:0: --set: nebula takes no options, not nosuch"),
    ],
)
def test_a_wrong_option_on_the_command_line_is_the_users_and_told_once(
    new: Callable[..., Result], overlay: str, given: str, said: str
) -> None:
    new("overlay", "vpn", "--yaml")
    new("overlay", "vpn")
    done = CliRunner().invoke(cli, ["contract", "--pure", overlay, "--set", given])
    told = done.output if isinstance(done.exception, SystemExit) else str(done.exception)
    assert (getattr(done.exception, "exit_code", done.exit_code), told.count(said)) == (2, 1), told
    assert "BROKEN" not in done.output


def example() -> str:
    """Return the whole adapter on the page."""
    (found,) = re.findall(r"```yaml\n(name: .*?)```", DOCS.read_text(), re.DOTALL)
    return str(found)


def test_the_example_on_the_page_keeps_the_pure_half(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(example())
    overlay = load_named_file(str(path)).overlay
    assert requirement_complaints(overlay) == rendering_complaints(overlay, "hub") == []


def test_the_page_names_every_key() -> None:
    keys = DOCS.read_text().partition("### Its keys")[2]
    assert [name for name in WrittenOverlay.model_fields if f"`{name}`" not in keys] == []


def test_check_takes_adapters_as_files_of_their_own(new: Callable[..., Result]) -> None:
    new("overlay", "vpn", "--yaml")
    new("overlay", "vpn")
    checked = CliRunner().invoke(cli, ["check", "vpn.yaml", "./vpn.py:Vpn"])
    assert checked.output.splitlines() == [
        "vpn.yaml: an adapter of vpn with the modes hub",
        "./vpn.py:Vpn: an adapter of vpn with the modes hub",
    ]
    path = Path("vpn.yaml")
    path.write_text(path.read_text().replace("interface: tun0", "interface: a-name-that-is-too-long"))
    wrong = CliRunner().invoke(cli, ["check", "vpn.yaml"]).exception
    assert isinstance(wrong, ScenarioError) and "vpn.yaml:0: hub: names p1's interface" in str(wrong)
