"""`overlaybench site DIR... --out SITE`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.commands.arguments import examples
from harness.errors import storage_errors
from harness.site.build import write_site

_EPILOG = (
    examples(
        "overlaybench site runs/demo runs/nat-matrix --out site",
        "overlaybench site results/* --out site        plain files are skipped",
    )
    + """
\b
Exit codes: 0 done, 2 a DIR is not a result folder, or SITE holds something else, 3 something cannot be written.
"""
)


@click.command("site", epilog=_EPILOG)
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    metavar="SITE",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write the site to.",
)
def site_command(*, folders: tuple[Path, ...], out: Path) -> None:
    """Make a static site of any number of runs: a scoreboard, and a page for each overlay, run and metric.

    SITE/index.html opens from disk and from any web server; nothing is loaded from elsewhere.
    """
    with storage_errors(out):
        page = write_site([folder for folder in folders if not folder.is_file()], out)
    click.echo(str(page))
