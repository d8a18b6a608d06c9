"""`overlaybench run SCENARIO`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from harness.campaign.run import RunOptions, RunResult, run_trials
from harness.campaign.shards import parse_shard
from harness.commands.arguments import examples, label_option, labels_of, only_option, pairs
from harness.commands.bundled import Bundled
from harness.commands.concluding import conclude
from harness.commands.console import Console
from harness.commands.kinds import require_kind
from harness.errors import EXIT_SIGNAL, storage_errors
from harness.hosts.registry import kind_of
from harness.machine.busy import wait_for_room
from harness.model.words import Outcome
from harness.sandbox.unshare import is_privileged
from harness.scenario.load import SCENARIOS
from harness.scenario.planned import plan_trials

# After any other a lab is not there any more, or shows nothing.
_PAUSES: Final[tuple[Outcome, ...]] = ("failed", "invalid", "error")

_EPILOG = examples(
    "overlaybench run smoke",
    "overlaybench run demo --only overlay=refmesh --only mode=mesh --repeat 5",
    "overlaybench run demo --out runs/mine --resume",
)


@click.command("run", epilog=_EPILOG)
@click.argument("scenario", type=Bundled(SCENARIOS))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Result folder. Default: runs/NAME-TIME.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 1000),
    help="Number of trials that run at the same time while they wait. Default: 4 per core.",
)
@click.option(
    "--repeat",
    "--repeats",
    type=click.IntRange(1, 10_000),
    help="Number of repeats of every cell, in place of the scenario's.",
)
@only_option
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Seed, in place of the scenario's.")
@click.option("--resume", is_flag=True, help="Continue the run in the folder given by --out.")
@click.option(
    "--accept-changes",
    is_flag=True,
    help="With --resume: continue although machine, programs or topology have changed. Each record keeps which "
    "it was made with.",
)
@click.option("--shard", metavar="K/N", help="Run only part K of N of the plan; `merge` puts the parts together.")
@label_option
@click.option(
    "--hosts",
    metavar="FILE|ADDRESS",
    help="Where the trials run: a file of hosts, or the address of a scheduler (docs/many-machines.md). Default: "
    "this machine.",
)
@click.option(
    "--pause-on",
    multiple=True,
    type=click.Choice(_PAUSES),
    help="Keep the lab of a trial with this outcome, for `overlaybench enter`; may be repeated.",
)
@click.option("--keep-failed", is_flag=True, help="The same as --pause-on failed.")
@click.option(
    "--no-report", is_flag=True, help="Write records and evidence only; `overlaybench report` can make the page later."
)
@click.option("--live", is_flag=True, help="Show paths, rates and events of running trials; costs some processor time.")
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
    accept_changes: bool,
    shard: str | None,
    label: tuple[str, ...],
    hosts: str | None,
    pause_on: tuple[Outcome, ...],
    keep_failed: bool,
    no_report: bool,
    live: bool,
) -> None:
    """Run SCENARIO (a path or a bundled name) and report."""
    if resume and out is None:
        raise click.UsageError("--resume needs --out DIR, the folder of the run to continue")
    if accept_changes and not resume:
        raise click.UsageError("--accept-changes needs --resume")
    selected = pairs(only, "--only")
    try:
        part = None if shard is None else parse_shard(shard)
    except ValueError as error:
        raise click.UsageError(f"--shard: {error}") from None
    if (pause_on or keep_failed) and hosts not in (None, "local"):
        raise click.UsageError("--pause-on and --keep-failed keep labs on this machine only, not on --hosts")
    if live and hosts not in (None, "local"):
        raise click.UsageError("--live shows labs on this machine only, not on --hosts")
    if jobs is not None and (said := kind_of(hosts).slots_said(hosts)) is not None:
        raise click.UsageError(f"--jobs would be ignored: {said}")
    pauses = tuple(dict.fromkeys((*pause_on, *(("failed",) if keep_failed else ()))))
    options = RunOptions(out, jobs, selected, resume, accept_changes, hosts, part, labels_of(label), pauses, live)
    console = Console(stderr=True)
    require_kind(scenario, "scenario")
    planned = plan_trials(scenario, selected, repeat, seed)
    if (
        hosts in (None, "local")
        and not is_privileged()
        and any(one.topology.impaired_links() for one in planned.trials)
    ):
        wait_for_room(lambda text: console.print(text, style="yellow", markup=False, soft_wrap=True))
    result = run_trials(planned, options, console)
    _report(result, console, page=not no_report)
    ctx.exit(_conclude(result, console))


def _report(result: RunResult, console: Console, *, page: bool) -> None:
    """Write the tables and the report, and print what people look for first; without `page` nothing of it."""
    with storage_errors(result.folder.path):
        if not page:
            result.folder.drop_tables()
            return
        for problem in result.folder.finish():
            console.print(f"records.jsonl, line {problem.line}: {problem.text}", style="yellow", markup=False)
        if not result.done:
            return
        from harness.report.facts import began_busy, never_came  # noqa: PLC0415
        from harness.report.html import write_report  # noqa: PLC0415  # matplotlib is slow to load
        from harness.report.terminal import print_results  # noqa: PLC0415
        from harness.results.loading import load  # noqa: PLC0415

        report = write_report(result.folder.path)
        records = load(result.folder.path).records
        print_results(records, Console())
        for warning in filter(None, (began_busy(result.folder.manifest()), never_came(records))):
            console.print(warning, style="yellow", markup=False, soft_wrap=True)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)


def _conclude(result: RunResult, console: Console) -> int:
    """Say what was wrong, the worst last; return the exit code."""
    tally = result.tally
    if tally.interrupted:
        kept = f"the results of {result.done} of {result.planned} trials are kept in {result.folder.path}"
        console.print(f"stopped: {kept}; continue with --resume", highlight=False, soft_wrap=True)
        return EXIT_SIGNAL + tally.interrupted
    return conclude(result.judgement, console)
