"""`overlaybench check FILE...`."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from harness.commands.arguments import examples
from harness.commands.bundled import Bundled
from harness.commands.kinds import kind_of
from harness.commands.labs import why_not_built
from harness.conformance.rendering import rendering_complaints, requirement_complaints
from harness.errors import Problem, ScenarioError
from harness.model.template import render
from harness.model.trial import Trial
from harness.overlay.named_file import load_named_file
from harness.sandbox.unshare import why_no_user_namespaces
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
    """Check scenario, topology, population and adapter FILEs; print FILE:LINE: field: what is wrong, one line each."""
    problems: list[Problem] = []
    for name in files:
        try:
            click.echo(f"{name}: {_check(name)}")
        except ScenarioError as error:
            problems += error.problems
    if problems:
        raise ScenarioError(problems)


def _check(name: str) -> str:
    kind = kind_of(name)
    if kind == "topology":
        source = load_topology(name)
        required = [key for key, parameter in source.parameters.items() if parameter.required]
        if required:
            return f"a topology; its body is checked when a scenario gives {', '.join(required)}"
        topology = render(source.template, {})
        return f"a topology of {len(topology.hosts)} hosts and {len(topology.routers)} routers"
    if kind == "population":
        population = load_population(name, POPULATIONS)
        return f"a population of {len(Plan(population.population))} worlds"
    if kind == "adapter":
        return _check_adapter(name)
    planned = plan_trials(name)
    notes = {note: None for trial in planned.trials for note in _notes(planned.loaded.topology, trial)}
    _try_own_classes(planned.loaded.topology, planned.trials)
    return "\n  ".join([f"a scenario of {len(planned.trials)} trials", *notes])


def _notes(source: TopologySource, trial: Trial) -> list[str]:
    """Return what the lab of a Mininet class does in its own way."""
    use = trial.topology.mininet
    return source.notes(use.params) if isinstance(source, MininetSource) and use is not None else []


def _try_own_classes(source: TopologySource, trials: Sequence[Trial]) -> None:
    """Build the lab of a Mininet class once where its hosts are of classes of their author's: what those do, only that
    tells.

    Raises:
        ScenarioError: their code raised something.
    """
    if not isinstance(source, MininetSource) or why_no_user_namespaces() is not None:
        return
    tried = {json.dumps(use.params, default=str): one for one in trials if (use := one.topology.mininet) is not None}
    for trial in tried.values():
        use = trial.topology.mininet
        if use is not None and source.own_classes(use.params) and (why := why_not_built(trial.topology)):
            raise ScenarioError([Problem(source.name, 0, "topology", why.removeprefix(f"{source.name}: "))])


def _check_adapter(name: str) -> str:
    """Render an adapter in all its modes, as the contract's pure half does."""
    file = load_named_file(name)
    modes = sorted(file.overlay.modes)
    wrong = [("programs", text) for text in requirement_complaints(file.overlay)]
    wrong += [(str(mode), text) for mode in modes for text in rendering_complaints(file.overlay, mode)]
    if wrong:
        raise ScenarioError([Problem(str(file.path), 0, field, text) for field, text in wrong])
    return f"an adapter of {file.overlay.name} with the modes {', '.join(modes)}"
