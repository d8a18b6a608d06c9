"""`overlaybench doctor`."""

from __future__ import annotations

import json

import click

from harness.calibration.nat_calibrate import calibrate_nat
from harness.commands.arguments import examples
from harness.commands.console import Console
from harness.errors import EXIT_MACHINE, OverlaybenchError
from harness.machine.doctor import Finding, examine

_EPILOG = examples(
    "overlaybench doctor",
    "overlaybench doctor --json | jq .",
)
# Random ports in both protocols: of the short discoveries the one that most of a ruleset is needed for.
_DISCOVERED = "symmetric"


@click.command("doctor", epilog=_EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_context
def doctor_command(ctx: click.Context, as_json: bool) -> None:
    """Show what this machine can do, what is missing, and the command that gets it. Exit 3 if nothing can run."""
    findings = list(examine())
    if all(finding.ok for finding in findings if finding.needed):
        findings.append(_discovery())
    able = all(finding.ok for finding in findings if finding.needed)
    if as_json:
        click.echo(json.dumps({"able": able, "findings": [finding.as_dict() for finding in findings]}, indent=1))
    else:
        console = Console(soft_wrap=True, highlight=False)
        for finding in findings:
            mark = "[green]ok     [/]" if finding.ok else "[red]MISSING[/]" if finding.needed else "[yellow]absent [/]"
            console.print(f"{mark} {finding.what}: ", end="")
            console.print(finding.detail, markup=False)
            if not finding.ok and finding.remedy:
                console.print(f"        to get it: {finding.remedy}", markup=False)
    ctx.exit(0 if able else EXIT_MACHINE)


def _discovery() -> Finding:
    """Build, discover and compare one router with its declaration: rules that load may still do nothing."""
    what, remedy = "NAT discovery", "overlaybench calibrate nat"
    try:
        seen = next(case for case in calibrate_nat(jobs=1, only=[_DISCOVERED], seed=1) if case.name == _DISCOVERED)
    except OverlaybenchError as error:
        return Finding(what, False, str(error), remedy)
    wrong = "; ".join(seen.differences) or seen.error
    detail = f"{_DISCOVERED}: {wrong}" if wrong else f"a router declared {_DISCOVERED} is {seen.declared}"
    return Finding(what, seen.passed, detail, remedy)
