"""`overlaybench trend DIR...`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.arguments import min_effect_option
from harness.errors import EXIT_EXPECTATION, EXIT_INPUT, storage_errors
from harness.results.files import write_atomically
from harness.results.loading import Results, load

if TYPE_CHECKING:
    from harness.results.trend import Finding, Trend

_EPILOG = """\b
Examples:
  overlaybench trend runs/v1.8 runs/v1.9 runs/v1.10
  overlaybench trend history/* --by commit --check >> "$GITHUB_STEP_SUMMARY"
  overlaybench trend history/* --out trend --since 3f9c2a1

Exit codes: 0 done, 1 with --check: a regression still stands, 2 wrong input (no result folder, a label that is
missing, nothing in common), 3 something cannot be written.
"""


@click.command("trend", epilog=_EPILOG)
@click.argument("dirs", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path))
@click.option(
    "--by",
    metavar="version|run|LABEL",
    help="How runs are grouped into points: by the overlay's version, each run by itself, or by a label that "
    "`run --label` gave. Default: the label commit if all runs have it, otherwise the version if an overlay has "
    "several, otherwise each run by itself.",
)
@click.option(
    "--as-given", is_flag=True, help="Order points as on the command line, not by when they were first measured."
)
@click.option("--check", is_flag=True, help="Exit with 1 if a regression still stands at the newest point.")
@click.option("--since", metavar="POINT", help="With --check: ignore what began at this point or before.")
@click.option(
    "--alpha",
    default=0.05,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="False-alarm rate: the largest share of histories without any change that may fail.",
)
@min_effect_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write trend.md, trend.csv and plots into this folder.",
)
@click.option("--all-plots", is_flag=True, help="With --out: plot every series, not only those that changed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of Markdown.")
def trend_command(
    *,
    dirs: tuple[Path, ...],
    by: str | None,
    as_given: bool,
    check: bool,
    since: str | None,
    alpha: float,
    min_effect: float | None,
    out: Path | None,
    all_plots: bool,
    as_json: bool,
) -> None:
    """Show what changed over the runs of successive versions or commits: when, by how much, and how certainly.

    Points are in the order in which they were first measured. Up to five are compared with the tests of `compare`;
    more are searched for change points and drifts.
    """
    if since is not None and not check:
        raise click.UsageError("--since needs --check")
    if all_plots and out is None:
        raise click.UsageError("--all-plots needs --out")
    if len(dirs) < 2:
        raise click.UsageError("a trend needs at least two result folders")
    from harness.report.trend import to_json, to_summary, verdict_line  # noqa: PLC0415  # scipy is slow to load
    from harness.results.changes import Rule  # noqa: PLC0415
    from harness.results.history import history_of  # noqa: PLC0415
    from harness.results.trend import trend  # noqa: PLC0415

    found = trend(history_of([_load(path) for path in dirs], by, as_given=as_given), Rule(alpha, min_effect))
    if not found.judged:
        click.echo(f"{verdict_line(found, [])} Runs were grouped into points by {found.history.by} (--by).", err=True)
        raise SystemExit(EXIT_INPUT)
    standing = found.regressions if since is None else _since(found, since)
    if out is not None:
        with storage_errors(out):
            _write(found, standing, out, all_plots=all_plots)
        click.echo(f"written: {out / 'trend.md'}", err=True)
    if as_json:
        click.echo(json.dumps(to_json(found, standing), indent=1, allow_nan=False))
    else:
        click.echo(to_summary(found, standing), nl=False)
    click.echo(verdict_line(found, standing), err=True)
    raise SystemExit(EXIT_EXPECTATION if check and standing else 0)


def _load(path: Path) -> Results:
    with storage_errors(path):
        results = load(path)
    for problem in results.problems:
        click.echo(f"{path}/{problem}", err=True)
    return results


def _since(found: Trend, point: str) -> list[Finding]:
    from harness.results.trend import place_of  # noqa: PLC0415

    if all(place_of(axis, point) < 0 for axis in found.history.axes):
        known = ", ".join(dict.fromkeys(name for axis in found.history.axes for name in axis.points))
        raise click.UsageError(f"--since {point}: there is no such point; there are {known}")
    return found.regressions_since(point)


def _write(found: Trend, standing: list[Finding], out: Path, *, all_plots: bool) -> None:
    """Write the summary with its plots, each as SVG, PNG and CSV, and a row per cell and run."""
    from harness.report.plots.figure import save  # noqa: PLC0415  # matplotlib is slow to load
    from harness.report.plots.history import history_plot  # noqa: PLC0415
    from harness.report.plots.style import SCREEN  # noqa: PLC0415
    from harness.report.trend import to_csv, to_summary  # noqa: PLC0415

    out.mkdir(parents=True, exist_ok=True)
    plots = []
    for number, series in enumerate(found.series, 1):
        mine = [one for one in found.findings if one.series is series]
        if mine or all_plots:
            drawn = save(history_plot(series, mine, number), out / "plots", SCREEN)
            plots.append((drawn.title, f"plots/{drawn.name}.svg"))
    runs = [str(run.path) for run in found.history.runs]
    write_atomically(out / "trend.csv", to_csv(found.series, runs).encode())
    write_atomically(out / "trend.md", to_summary(found, standing, plots).encode())
