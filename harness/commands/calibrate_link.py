"""`overlaybench calibrate link`."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Sequence
from typing import Any

import click

from harness.calibration.link_calibrate import available_backends, calibrate
from harness.calibration.link_cases import CASES, cases_matching
from harness.calibration.link_judge import Finding
from harness.commands.arguments import examples
from harness.errors import EXIT_EXPECTATION, EXIT_INPUT
from harness.link.choose import netem_missing
from harness.machine.processors import processors_awake

_EPILOG = examples(
    "overlaybench calibrate link",
    "overlaybench calibrate link --only loss --backend userlink --json",
)


@click.command("link", epilog=_EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Cases side by side.")
@click.option("--only", multiple=True, metavar="TEXT", help="Only cases whose name contains TEXT; may be repeated.")
@click.option("--backend", "backends", multiple=True, metavar="NAME", help="Only this backend; may be repeated.")
@click.pass_context
def calibrate_link_command(
    context: click.Context, *, as_json: bool, jobs: int, only: tuple[str, ...], backends: tuple[str, ...]
) -> None:
    """Prove every link backend of this machine: declared against observed.

    Exit code 1 where a link is not what it says. More than one job makes the cases disturb each other's timing.
    """
    cases = cases_matching(only)
    if not cases:
        click.echo(f"no case contains {' or '.join(only)}; cases: {', '.join(case.name for case in CASES)}", err=True)
        context.exit(EXIT_INPUT)
    there = available_backends()
    absent = [name for name in backends if name not in {*there, "userlink-python"}]
    if absent:
        click.echo(f"no backend {', '.join(absent)} on this machine; there are {', '.join(there)}", err=True)
        context.exit(EXIT_INPUT)
    missing = netem_missing()
    if missing is not None and not backends:
        click.echo(f"netem is not calibrated: {missing}", err=True)
    began = time.monotonic()
    with processors_awake():
        findings = calibrate(cases, backends or there, jobs=jobs, report=_say)
    duration_s = time.monotonic() - began
    wrong = [finding for finding in findings if not finding.ok]
    if as_json:
        click.echo(json.dumps(_document(findings, list(backends or there), duration_s), indent=1))
    good = len(findings) - len(wrong)
    click.echo(f"{good} of {len(findings)} findings within tolerance; {duration_s:.0f} s", err=True)
    context.exit(EXIT_EXPECTATION if wrong else 0)


def _say(findings: Sequence[Finding]) -> None:
    for f in findings:
        verdict = "ok   " if f.ok else "WRONG"
        declared = "" if f.declared is None else f" declared {f.declared:g}"
        click.echo(
            f"{verdict} {f.backend:16} {f.case:22} {f.metric:20} {f.observed:10.4g} {f.unit:8}{declared} "
            f"[{f.low:.4g}, {f.high:.4g}] n={f.n}{f' attempt {f.attempts}' if f.attempts > 1 else ''}",
            err=True,
        )


def _document(findings: Sequence[Finding], backends: list[str], duration_s: float) -> dict[str, Any]:
    return {
        "kernel": platform.release(),
        "backends": backends,
        "duration_s": round(duration_s, 1),
        "ok": all(finding.ok for finding in findings),
        "findings": [finding.as_dict() for finding in findings],
    }
