"""`overlaybench plan SCENARIO`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from rich.table import Table

from harness.commands.arguments import examples, only_option, pairs
from harness.commands.bundled import Bundled
from harness.commands.console import Console
from harness.commands.kinds import require_kind
from harness.errors import Problem, ScenarioError, storage_errors
from harness.model.document import did_you_mean
from harness.model.trial import Trial
from harness.nat.ruleset import render_ruleset
from harness.overlay.contract import Overlay
from harness.overlay.support import why_unsupported
from harness.results.expectations import Expected
from harness.scenario.load import SCENARIOS
from harness.scenario.planned import plan_trials
from harness.topology.wiring import router_behaviour, router_ports
from harness.trial.messages import Job

_EPILOG = examples(
    "overlaybench plan demo",
    "overlaybench plan demo --only overlay=nebula",
    "overlaybench plan smoke --trial refmesh_mesh_r1",
    "overlaybench plan demo --repeats 10 --from runs/demo",
)


@click.command("plan", epilog=_EPILOG)
@click.argument("scenario", type=Bundled(SCENARIOS))
@click.option(
    "--trial", "trial_id", metavar="ID", help="Show all files and commands that would be rendered for this trial."
)
@only_option
@click.option(
    "--repeat",
    "--repeats",
    type=click.IntRange(1, 10_000),
    help="Number of repeats of every cell, in place of the scenario's.",
)
@click.option(
    "--from",
    "past_dirs",
    multiple=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="A past run from which duration and size are estimated; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def plan_command(
    scenario: str,
    trial_id: str | None,
    only: tuple[str, ...],
    *,
    repeat: int | None,
    past_dirs: tuple[Path, ...],
    as_json: bool,
) -> None:
    """List the trials of SCENARIO in the order in which they would run, and how long they would take.

    Needs no privileges and starts nothing. How long and how large is told by past runs (--from), else by what the
    probes may take at most.
    """
    require_kind(scenario, "scenario")
    planned = plan_trials(scenario, pairs(only, "--only"), repeat)
    trials = planned.trials
    if trial_id is not None:
        _show_trial(_find(trials, trial_id, planned.loaded.document.file), planned.overlays, as_json)
        return
    if as_json:
        click.echo(json.dumps([trial.model_dump(mode="json") for trial in trials], indent=1))
    else:
        console = Console()
        if not console.is_terminal:
            console.width = 200
        console.print(_table(trials))
    text = _forecast(trials, planned.overlays, past_dirs)
    if planned.loaded.scenario.until is not None:
        text += "; fewer where `until` is reached before"
    Console(stderr=True).print(text, highlight=False, soft_wrap=True, markup=False)


def _table(trials: Sequence[Trial]) -> Table:
    """Return a row a trial, with a column for everything that differs between them."""
    table = Table(box=None, pad_edge=False)
    names = ["trial", "overlay", "mode", "nat_a", "nat_b", "link"]
    varied = _varied(trials)
    for name in (*names, *varied, "expected path"):
        table.add_column(name, overflow="fold")
    for trial in trials:
        row = [trial.id, trial.overlay, trial.mode, trial.nat_a, trial.nat_b, trial.link]
        row += [_shown(trial.params.get(name)) for name in varied]
        table.add_row(*(text or "-" for text in (*row, Expected.of(trial).some_path)))
    return table


def _varied(trials: Sequence[Trial]) -> list[str]:
    """Return the parameters of which trials have several values, but for those that the labels of NATs tell."""
    values: dict[str, set[str]] = {}
    for trial in trials:
        for name, value in trial.params.items():
            values.setdefault(name, set()).add(_shown(value))
    told = {name for name in ("nat_a", "nat_b") if all(getattr(trial, name) for trial in trials)}
    return sorted(name for name, found in values.items() if len(found) > 1 and name not in told)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _forecast(trials: Sequence[Trial], overlays: Mapping[str, Overlay], past_dirs: Sequence[Path]) -> str:
    """Return how long and how large the trials would be; those that an overlay does not support take no time."""
    from harness.results import forecast  # noqa: PLC0415  # pandas is slow to load
    from harness.results.loading import load  # noqa: PLC0415

    with storage_errors(past_dirs[0] if past_dirs else "runs"):
        past = forecast.past_of(load(path) for path in past_dirs)
    run = [trial for trial in trials if why_unsupported(trial, overlays[trial.overlay]) is None]
    told = []
    for trial in run:
        pairs_of = len(trial.topology.members) * (len(trial.topology.members) - 1) // 2
        probes = trial.probes.model_dump(mode="json")
        told.append(forecast.Trial(trial.overlay, trial.mode, probes, 2 * pairs_of * trial.probes.own_time_s()))
    text = forecast.forecast(told, past).text
    without = len(trials) - len(run)
    return text + (f"; {without} more are unsupported" if without else "")


def _find(trials: list[Trial], trial_id: str, file: str) -> Trial:
    for trial in trials:
        if trial.id == trial_id:
            return trial
    hint = did_you_mean(trial_id, [trial.id for trial in trials])
    raise ScenarioError([Problem(file, 0, "--trial", f"there is no trial {trial_id}{hint}")])


def _show_trial(trial: Trial, overlays: dict[str, Overlay], as_json: bool) -> None:
    overlay = overlays[trial.overlay]
    unsupported = why_unsupported(trial, overlay)
    job = Job(trial=trial, deployment=overlay.render(trial)) if unsupported is None else None
    rulesets = {
        name: render_ruleset(
            router_behaviour(trial.topology, name), router_ports(trial.topology, name), seed=trial.seed
        )
        for name in trial.topology.routers
    }
    if as_json:
        shown = {
            "trial": trial.model_dump(mode="json"),
            "deployment": job.deployment.model_dump(mode="json") if job else None,
            "rulesets": rulesets,
        }
        click.echo(json.dumps(shown, indent=1))
        return
    click.echo(f"# {trial.id}: {trial.overlay} {trial.mode}, seed {trial.seed}")
    for name, text in rulesets.items():
        click.echo(f"\n## {name}.nft\n{text}")
    if job is None:
        click.echo(f"\n## unsupported: {unsupported}")
        return
    for file in job.deployment.files:
        click.echo(f"\n## nodes/{file.node}/{file.path} (mode {file.mode:o})\n{file.text}")
    for command in job.deployment.prepare:
        click.echo(f"## on {command.node}, before the start: {' '.join(command.argv)}")
    for service in job.deployment.services:
        after = f" (after {', '.join(service.after)})" if service.after else ""
        conditions = " and ".join(str(condition) for condition in service.ready)
        click.echo(
            f"## on {service.node}, service {service.name}{after}: {' '.join(service.argv)}\n   ready: {conditions}"
        )
    for command in job.deployment.setup:
        click.echo(f"## on {command.node}, when all is ready: {' '.join(command.argv)}")
    for member, endpoint in job.deployment.endpoints.items():
        click.echo(f"## probes reach {member} at {endpoint.address}")
    for stream in job.deployment.streams:
        near = f"{stream.listen_address}:{stream.listen_port}"
        far = f"{stream.service_address}:{stream.service_port}"
        click.echo(f"## on {stream.src}, probes reach {far} on {stream.dst} by connecting to {near}")
    for content in job.deployment.contents:
        click.echo(f"## on {content.src}, content is published by: {' '.join(content.publish)}")
        click.echo(f"## on {content.dst}, it is fetched by: {' '.join(content.fetch)}")
