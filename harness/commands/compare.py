"""`overlaybench compare BASELINE_DIR NEW_DIR`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.commands.arguments import min_effect_option
from harness.errors import EXIT_EXPECTATION, EXIT_INPUT, storage_errors
from harness.report.comparison import to_json, to_summary, verdict_line
from harness.report.comparison_page import write_comparison
from harness.results.changes import Rule
from harness.results.compare import compare
from harness.results.differences import differences
from harness.results.hosts import alike
from harness.results.loading import Results, load

_EPILOG = """\b
Examples:
  overlaybench compare runs/main runs/branch
  overlaybench compare runs/main runs/branch --html diff.html >> "$GITHUB_STEP_SUMMARY"
  overlaybench compare runs/main runs/branch --min-effect 0.2 --json | jq .regressions

Exit codes: 0 no regression found, 1 a regression, 2 wrong input (no result folder, nothing in common),
3 something cannot be written.
"""


@click.command("compare", epilog=_EPILOG)
@click.argument("baseline_dir", type=click.Path(path_type=Path))
@click.argument("new_dir", type=click.Path(path_type=Path))
@click.option(
    "--alpha",
    default=0.05,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="False-alarm rate: the largest share of comparisons without any change that may find a regression.",
)
@min_effect_option
@click.option(
    "--html", "html_path", type=click.Path(path_type=Path, dir_okay=False), help="Also write an HTML page to this file."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of Markdown.")
def compare_command(
    *, baseline_dir: Path, new_dir: Path, alpha: float, min_effect: float | None, html_path: Path | None, as_json: bool
) -> None:
    """Show what changed between two runs, by how much, with what certainty.

    Fails only for a regression that survives the correction for many tests and exceeds the minimum effect.
    """
    base, new = _load(baseline_dir), _load(new_dir)
    found = differences(base, new)
    comparison = compare(
        *alike(base, new),
        Rule(alpha, min_effect),
        same_machine=found.same_machine,
        same_lab=found.same_lab,
        without=found.left_out,
    )
    if not comparison.changes:
        why = "".join(f"\n- {remark}" for remark in found.remarks)
        click.echo(f"{baseline_dir} and {new_dir} have no measurement of the same cell in common{why}", err=True)
        raise SystemExit(EXIT_INPUT)
    if as_json:
        click.echo(json.dumps(to_json(comparison, found.remarks), indent=1, allow_nan=False))
    else:
        click.echo(to_summary(comparison, str(baseline_dir), str(new_dir), found.remarks), nl=False)
    if html_path is not None:
        with storage_errors(html_path):
            html_path.parent.mkdir(parents=True, exist_ok=True)
            write_comparison(comparison, base, new, html_path, found.remarks)
        click.echo(f"page: {html_path}", err=True)
    click.echo(verdict_line(comparison), err=True)
    raise SystemExit(EXIT_EXPECTATION if comparison.regressions else 0)


def _load(path: Path) -> Results:
    with storage_errors(path):
        results = load(path)
    for problem in results.problems:
        click.echo(f"{path}/{problem}", err=True)
    return results
