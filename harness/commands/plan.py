"""`overlaybench plan SCENARIO`."""

from __future__ import annotations

import json

import click
from rich.table import Table

from harness.commands.arguments import Bundled, examples, only_option, pairs
from harness.commands.console import Console
from harness.errors import Problem, ScenarioError
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
)


@click.command("plan", epilog=_EPILOG)
@click.argument("scenario", type=Bundled(SCENARIOS))
@click.option("--trial", "trial_id", metavar="ID", help="Everything that would be rendered for this trial.")
@only_option
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def plan_command(scenario: str, trial_id: str | None, only: tuple[str, ...], as_json: bool) -> None:
    """List the trials of SCENARIO in the order in which they would run. Needs no privileges and starts nothing."""
    planned = plan_trials(scenario, pairs(only, "--only"))
    trials = planned.trials
    if trial_id is not None:
        _show_trial(_find(trials, trial_id, planned.loaded.document.file), planned.overlays, as_json)
    elif as_json:
        click.echo(json.dumps([trial.model_dump(mode="json") for trial in trials], indent=1))
    else:
        table = Table(box=None, pad_edge=False)
        for name in ("trial", "overlay", "mode", "nat_a", "nat_b", "link", "expected path"):
            table.add_column(name, overflow="fold")
        for trial in trials:
            row = [
                trial.id,
                trial.overlay,
                trial.mode,
                trial.nat_a,
                trial.nat_b,
                trial.link,
                Expected.of(trial).some_path,
            ]
            table.add_row(*(text or "-" for text in row))
        console = Console()
        if not console.is_terminal:
            console.width = 200
        console.print(table)
        Console(stderr=True).print(f"{len(trials)} trials", highlight=False)


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
