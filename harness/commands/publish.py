"""`overlaybench publish RUN DIR`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.commands.arguments import examples
from harness.errors import storage_errors
from harness.report.publish import publish

_EPILOG = examples("overlaybench publish runs/mine results/mine")


@click.command("publish", epilog=_EPILOG)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def publish_command(run: Path, folder: Path) -> None:
    """Make a small copy of RUN in DIR, to be put under version control or beside a paper.

    It has the manifest, the plan, the records as a table, the evidence from which figures can be computed again
    (without keys), the plots as SVG, and a README.md with verdict, tables, machine and the command that repeats the
    run. `load`, `report` and `compare` read it. A copy in DIR is replaced; anything else there is refused.
    """
    with storage_errors(folder):
        click.echo(publish(run, folder))
