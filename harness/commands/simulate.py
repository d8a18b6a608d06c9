"""`overlaybench simulate POPULATION`."""

from __future__ import annotations

import datetime
import os
import signal
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import click
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from harness.commands.arguments import examples, label_option, labels_of
from harness.commands.bundled import Bundled
from harness.commands.console import Console
from harness.commands.kinds import require_kind
from harness.errors import EXIT_OK, EXIT_SIGNAL, storage_errors
from harness.hosts.scheduler import require_scheduler
from harness.scenario.load import POPULATIONS
from harness.simulation.describe import described
from harness.simulation.load import LoadedPopulation, load_population
from harness.simulation.reweigh import require_same_cells
from harness.simulation.run import prepare, simulate

_EPILOG = examples(
    "overlaybench simulate field",
    "overlaybench simulate mine.yaml --out runs/mine --jobs 8",
    "overlaybench simulate mine.yaml --out runs/mine --resume",
    "overlaybench simulate other-shares.yaml --cells-of runs/mine",
)


@click.command("simulate", epilog=_EPILOG)
@click.argument("population", type=Bundled(POPULATIONS))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Result folder. Default: runs/NAME-TIME.")
@click.option("--jobs", type=click.IntRange(1, 1000), help="Number of processes. Default: one per core.")
@click.option(
    "--worlds", type=click.IntRange(1, 100_000), help="Number of worlds of each cell, in place of the population's."
)
@click.option(
    "--groups", type=click.IntRange(1, 100_000), help="Number of groups of each size, in place of the population's."
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Seed, in place of the population's.")
@click.option(
    "--emulated",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Result folder of emulated trials with the same NATs; the report compares its cells with the simulated ones.",
)
@click.option(
    "--cells-of",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Run nothing: print the results of this simulation, weighted by the shares of POPULATION.",
)
@click.option("--resume", is_flag=True, help="Continue the run in the folder given by --out.")
@label_option
@click.option("--hosts", metavar="ADDRESS", help="Address of a Dask scheduler whose workers run the worlds.")
@click.pass_context
def simulate_command(  # noqa: PLR0917  # click passes them by name
    ctx: click.Context,
    population: str,
    out: Path | None,
    jobs: int | None,
    worlds: int | None,
    groups: int | None,
    seed: int | None,
    emulated: Path | None,
    cells_of: Path | None,
    resume: bool,
    label: tuple[str, ...],
    hosts: str | None,
) -> None:
    """Run an overlay's own engine over POPULATION (a path or a bundled name) in memory, and report."""
    if resume and out is None:
        raise click.UsageError("--resume needs --out DIR, the folder of the run to continue")
    if jobs is not None and hosts is not None:
        raise click.UsageError(f"--jobs would be ignored: `--nthreads` of the workers of {hosts} decides")
    require_kind(population, "population")
    loaded = load_population(population, POPULATIONS)
    if cells_of is not None:
        given = {name for name, value in ctx.params.items() if value} - {"population", "cells_of"}
        if given:
            raise click.UsageError(f"--cells-of runs nothing: {', '.join('--' + name for name in sorted(given))}")
        _reweigh(loaded, cells_of)
        ctx.exit(EXIT_OK)
    changes = {"worlds": worlds, "groups": groups, "seed": seed}
    changes = {key: value for key, value in changes.items() if value is not None}
    loaded = replace(loaded, population=loaded.population.model_copy(update=changes))
    out = out or Path("runs") / f"{loaded.name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    labels = labels_of(label)
    if hosts is not None:
        require_scheduler(hosts)  # before there is a folder, which would have to be gone on with
    folder, left = prepare(loaded, out, resume=resume, emulated=emulated, labels=labels)
    console = Console(stderr=True)
    try:
        churn = loaded.population.churn
        with _Bar(console, len(left) + (churn.networks if churn is not None else 0)) as bar:
            simulate(loaded, folder, left, jobs or os.cpu_count() or 1, bar, hosts=hosts)
    except KeyboardInterrupt:
        console.print(
            f"stopped: what was done is kept in {out}; continue with --resume", highlight=False, soft_wrap=True
        )
        ctx.exit(EXIT_SIGNAL + signal.SIGINT)
    with storage_errors(out):
        folder.finish()
        from harness.report.html import write_report  # noqa: PLC0415  # matplotlib is slow to load

        report = write_report(out)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)
    ctx.exit(EXIT_OK)


def _reweigh(loaded: LoadedPopulation, folder: Path) -> None:
    from harness.report.population import reweighed  # noqa: PLC0415  # matplotlib is slow to load
    from harness.report.terminal import rich_table  # noqa: PLC0415

    require_same_cells(loaded, folder)
    Console().print(rich_table(reweighed(described(loaded), folder)))


class _Bar:
    """A bar in a terminal; elsewhere a line for each tenth."""

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total, self._done = console, total, 0
        self._bars: RichProgress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> _Bar:
        if self._console.is_terminal:
            columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            self._bars = RichProgress(TextColumn("worlds"), *columns, console=self._console, transient=True)
            self._task = self._bars.add_task("worlds", total=self._total)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def advance(self, worlds: int) -> None:
        """So many more are on the disk."""
        before, self._done = self._done, self._done + worlds
        if self._bars is not None:
            self._bars.advance(self._task, worlds)
        elif self._done * 10 // self._total > before * 10 // self._total:
            self._console.print(f"{self._done} of {self._total} worlds", highlight=False)
