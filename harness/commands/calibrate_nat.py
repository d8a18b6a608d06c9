"""`overlaybench calibrate nat`."""

from __future__ import annotations

import json
import os
import random
import sys
import time

import click

from harness.calibration.nat_calibrate import calibrate_nat, select_cases
from harness.commands.arguments import examples
from harness.errors import EXIT_EXPECTATION
from harness.hosts.calibrate import MOST_JOBS

_JOBS = min(MOST_JOBS, 2 * (os.cpu_count() or 1))
_EPILOG = examples(
    "overlaybench calibrate nat",
    "overlaybench calibrate nat --only 'port-*' --json",
)


@click.command("nat", epilog=_EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--jobs", type=click.IntRange(1, MOST_JOBS), default=_JOBS, show_default=True)
@click.option("--only", multiple=True, metavar="PATTERN", help="Only these aliases or cases; `*` matches anything.")
@click.option("--seed", type=int, default=None, help="Seed of packet timing and of first port numbers.")
def calibrate_nat_command(as_json: bool, jobs: int, only: tuple[str, ...], seed: int | None) -> None:
    """Prove every NAT behaviour on this machine: declared against observed. Exit 1 on any difference."""
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    total = len(select_cases(only))
    began = time.monotonic()
    results = []
    for result in calibrate_nat(jobs=jobs, only=only, seed=seed):
        results.append(result)
        if not result.passed:
            said = "; ".join(result.differences) or result.error
            click.echo(f"{result.name}: {said} (declared {result.declared}, seed {result.seed})", err=True)
        elif not as_json:
            click.echo(f"{result.name}: as declared, {result.duration_s:.2f} s")
        if sys.stderr.isatty():
            click.echo(f"\r{len(results)}/{total}", err=True, nl=False)
    passed = sum(result.passed for result in results)
    duration_s = time.monotonic() - began
    if as_json:
        document = {
            "seed": seed,
            "cases": len(results),
            "passed": passed,
            "duration_s": round(duration_s, 1),
            "results": [result.as_dict() for result in sorted(results, key=lambda result: result.name)],
        }
        click.echo(json.dumps(document, indent=1))
    click.echo(f"{passed} of {len(results)} behaviours are as declared; {duration_s:.0f} s, seed {seed}", err=True)
    if passed != len(results):
        sys.exit(EXIT_EXPECTATION)
