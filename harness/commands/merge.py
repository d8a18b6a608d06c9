"""`overlaybench merge DIR... --out DIR`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.campaign.merge import merge
from harness.commands.arguments import examples
from harness.commands.concluding import conclude
from harness.commands.console import Console
from harness.errors import StorageError, storage_errors
from harness.results.expectations import Expected
from harness.results.run_judgement import judge_run
from harness.results.store import RunFolder

_EPILOG = examples(
    "overlaybench merge part1 part2 --out runs/demo",
    "overlaybench merge shards/* --out runs/night && overlaybench compare runs/before runs/night",
)


@click.command("merge", epilog=_EPILOG)
@click.argument("dirs", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Result folder to create.")
@click.pass_context
def merge_command(ctx: click.Context, dirs: tuple[Path, ...], out: Path) -> None:
    """Put the shards of a run together: all of them, each once, into one result folder with its report.

    What the scenario expects is judged again, on the whole; exit codes are those of `run`.

    \b
    overlaybench run demo --shard 1/2 --out part1     on one machine
    overlaybench run demo --shard 2/2 --out part2     on another
    """
    count = merge(dirs, out)
    from harness.report.html import write_report  # noqa: PLC0415  # matplotlib is slow to load

    try:
        with storage_errors(out):
            report = write_report(out)
    except StorageError as error:
        raise StorageError(f"{error}. The merged results are whole: then overlaybench report {out}") from error
    click.echo(f"{count} trials of {len(dirs)} shards in {out}", err=True)
    click.echo(str(report))
    folder = RunFolder(out)
    judgement = judge_run(map(Expected.planned, folder.plan()), folder.read().records)
    ctx.exit(conclude(judgement, Console(stderr=True)))
