"""`overlaybench check FILE...`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.commands.arguments import Bundled, examples
from harness.errors import Problem, ScenarioError
from harness.model.document import parse
from harness.model.template import render
from harness.scenario.load import SCENARIOS, load_topology
from harness.scenario.planned import plan_trials

_EPILOG = examples(
    "overlaybench check mine.yaml",
    "overlaybench check scenarios/*.yaml topologies/*.yaml",
)


@click.command("check", epilog=_EPILOG)
@click.argument("files", nargs=-1, required=True, type=Bundled(SCENARIOS))
def check_command(files: tuple[str, ...]) -> None:
    """Check scenario and topology FILEs; print FILE:LINE: field: what is wrong, one line each."""
    problems: list[Problem] = []
    for name in files:
        try:
            click.echo(f"{name}: {_check(name)}")
        except ScenarioError as error:
            problems += error.problems
    if problems:
        raise ScenarioError(problems)


def _check(name: str) -> str:
    if _is_topology(name):
        source = load_topology(name)
        required = [key for key, parameter in source.parameters.items() if parameter.required]
        if required:
            return f"a topology; its body is checked when a scenario gives {', '.join(required)}"
        topology = render(source.template, {})
        return f"a topology of {len(topology.hosts)} hosts and {len(topology.routers)} routers"
    return f"a scenario of {len(plan_trials(name).trials)} trials"


def _is_topology(name: str) -> bool:
    """Tell whether it is a topology: its header is a YAML document of its own and has no `overlays`."""
    path = Path(name)
    if not path.is_file():
        return False
    head, separator, _ = path.read_text(encoding="utf-8", errors="replace").partition("\n---\n")
    if not separator:
        return False
    data = parse(head, name).data
    return isinstance(data, dict) and "overlays" not in data
