"""`overlaybench run SCENARIO`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from harness.campaign.run import RunOptions, run_scenario
from harness.commands.arguments import Bundled, examples, only_option, pairs
from harness.scenario.load import SCENARIOS

_EPILOG = examples(
    "overlaybench run smoke",
    "overlaybench run demo --only overlay=refmesh --only mode=mesh --repeat 5",
    "overlaybench run demo --out runs/mine --resume",
)


@click.command("run", epilog=_EPILOG)
@click.argument("scenario", type=Bundled(SCENARIOS))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Result folder; default runs/NAME-TIME.")
@click.option("--jobs", type=click.IntRange(1, 1000), help="Trials side by side while they wait; default 4 a core.")
@click.option("--repeat", type=click.IntRange(1, 10_000), help="Repeats of every cell, instead of the scenario's.")
@only_option
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Another seed than the scenario's.")
@click.option("--resume", is_flag=True, help="Go on with the folder given by --out.")
@click.pass_context
def run_command(  # noqa: PLR0917  # click passes them by name
    ctx: click.Context,
    scenario: str,
    out: Path | None,
    jobs: int | None,
    repeat: int | None,
    only: tuple[str, ...],
    seed: int | None,
    resume: bool,
) -> None:
    """Run SCENARIO (a path or a bundled name) and report."""
    if resume and out is None:
        raise click.UsageError("--resume needs --out DIR: the folder to go on with")
    options = RunOptions(scenario, out, jobs, repeat, seed, pairs(only, "--only"), resume)
    ctx.exit(run_scenario(options, Console(stderr=True)))
