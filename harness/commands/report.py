"""`overlaybench report DIR`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.errors import storage_errors
from harness.report.html import write_report
from harness.report.hubcost import hub_cost
from harness.report.markup import latex_of, markdown_of, write_tables
from harness.report.measured import tables_by_condition
from harness.report.plots.style import STYLES
from harness.results.flent import export
from harness.results.loading import load

_EPILOG = """\b
Examples:
  overlaybench report runs/demo                        DIR/report.html and DIR/plots
  overlaybench report runs/demo --style paper          plots as wide as a column, 8 pt
  overlaybench report runs/demo --format latex         the tables on stdout
  overlaybench report runs/demo --format latex --out t a file for each: t/overlays.tex and so on
  overlaybench report /mnt/runs/demo --out demo        if DIR cannot be written
  overlaybench report runs/demo --flent /tmp/flent     a .flent.gz per trial

Exit codes: 0 done, 2 DIR is no result folder, 3 something cannot be written.
"""


@click.command("report", epilog=_EPILOG)
@click.argument("run_dir", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--style", type=click.Choice(sorted(STYLES)), default="screen", show_default=True, help="Look of the plots."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "md", "latex"]),
    default="html",
    show_default=True,
    help="html writes a page; md and latex print the tables, or write them if --out is given.",
)
@click.option(
    "--out",
    "out_dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to. Default: DIR. With md and latex: a file for each table.",
)
@click.option(
    "--flent",
    "flent_dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write files for Flent into this folder.",
)
def report_command(*, run_dir: Path, style: str, form: str, out_dir: Path | None, flent_dir: Path | None) -> None:
    """Make tables, plots and report.html from the files in DIR alone."""
    with storage_errors(out_dir or run_dir):
        results = load(run_dir)
        for problem in results.problems:
            click.echo(f"{run_dir}/{problem}", err=True)
        page = write_report(run_dir, STYLES[style], out_dir) if form == "html" else None
    if page is not None:
        click.echo(str(page))
    elif len(results.trials):
        chapter = hub_cost(results)
        over_conditions = [("", chapter.tables)] if chapter is not None else []
        # What is printed is looked at; a paper's tables have intervals.
        found = tables_by_condition(results.pairs, results.phases, intervals=form == "latex")
        tables = [*over_conditions, *found]
        if out_dir is None:
            click.echo((markdown_of if form == "md" else latex_of)(tables), nl=False)
        else:
            with storage_errors(out_dir):
                for path in write_tables(tables, out_dir, form):
                    click.echo(str(path))
    if flent_dir is not None:
        with storage_errors(flent_dir):
            click.echo(f"{len(export(results, flent_dir))} files for Flent in {flent_dir}", err=True)
