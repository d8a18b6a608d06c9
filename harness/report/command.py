"""`overlaybench report DIR`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.report.html import write_report


@click.command("report")
@click.argument("run_dir", metavar="DIR", type=click.Path(path_type=Path))
def report_command(run_dir: Path) -> None:
    """Tables, plots and report.html, from the files in DIR alone."""
    click.echo(str(write_report(run_dir)))
