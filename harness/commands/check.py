"""`overlaybench check FILE...`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.commands.arguments import Bundled, examples
from harness.errors import Problem, ScenarioError
from harness.model.document import parse
from harness.model.template import render
from harness.model.trial import Trial
from harness.scenario.load import POPULATIONS, SCENARIOS, load_topology
from harness.scenario.planned import plan_trials
from harness.simulation.load import load_population
from harness.simulation.plan import Plan
from harness.topology.mininet_class import MininetSource
from harness.topology.source import TopologySource

_EPILOG = examples(
    "overlaybench check mine.yaml",
    "overlaybench check scenarios/*.yaml scenarios/populations/*.yaml topologies/*.yaml",
)


@click.command("check", epilog=_EPILOG)
@click.argument("files", nargs=-1, required=True, type=Bundled(SCENARIOS))
def check_command(files: tuple[str, ...]) -> None:
    """Check scenario, topology and population FILEs; print FILE:LINE: field: what is wrong, one line each."""
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
    if _is_population(name):
        population = load_population(name, POPULATIONS)
        return f"a population of {len(Plan(population.name, population.population))} worlds"
    planned = plan_trials(name)
    notes = {note: None for trial in planned.trials for note in _notes(planned.loaded.topology, trial)}
    return "\n  ".join([f"a scenario of {len(planned.trials)} trials", *notes])


def _notes(source: TopologySource, trial: Trial) -> list[str]:
    """Return what the lab of a Mininet class does in its own way."""
    use = trial.topology.mininet
    return source.notes(use.params) if isinstance(source, MininetSource) and use is not None else []


def _is_population(name: str) -> bool:
    """Tell whether it is a population: no other kind of file has `access`."""
    path = Path(name)
    if not path.is_file():
        return False
    try:
        data = parse(path.read_text(encoding="utf-8", errors="replace"), name).data
    except ScenarioError:
        return False  # whoever reads it as a scenario says what is wrong
    return isinstance(data, dict) and "access" in data


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
