"""`overlaybench doctor`."""

from __future__ import annotations

import json

import click

from harness.commands.arguments import examples
from harness.commands.console import Console
from harness.errors import EXIT_MACHINE
from harness.machine.doctor import examine

_EPILOG = examples(
    "overlaybench doctor",
    "overlaybench doctor --json | jq .",
)


@click.command("doctor", epilog=_EPILOG)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.pass_context
def doctor_command(ctx: click.Context, as_json: bool) -> None:
    """What this machine can do, what is missing, and the command that gets it. Exit 3 if nothing can run at all."""
    findings = list(examine())
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
