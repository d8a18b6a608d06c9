"""`overlaybench shell TOPOLOGY`: Mininet's own CLI in a running lab."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import yaml

from harness.commands.arguments import examples
from harness.commands.bundled import Bundled
from harness.commands.labs import open_lab
from harness.errors import EXIT_HARNESS, EXIT_MACHINE, LabError, Problem, ScenarioError
from harness.sandbox.unshare import why_no_user_namespaces
from harness.scenario.load import TOPOLOGIES, load_topology
from harness.topology.mininet_class import MininetSource

_EPILOG = examples(
    "overlaybench shell two-sites --set nat_a=symmetric",
    "overlaybench shell cgnat --commands what-to-do.mn",
)


@click.command("shell", epilog=_EPILOG)
@click.argument("topology", type=Bundled(TOPOLOGIES))
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Parameter of the topology; may be repeated."
)
@click.option(
    "--commands",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Run these CLI commands and exit; their output goes to stdout.",
)
def shell_command(topology: str, settings: tuple[str, ...], commands: Path | None) -> None:
    """Open Mininet's CLI in a lab of TOPOLOGY (a bundled name, a file, or package.module:Class).

    \b
    overlaybench shell two-sites --set nat_a=symmetric
    mininet> a ping -c1 s
    mininet> ra nft list ruleset
    """
    forbidden = why_no_user_namespaces()
    if forbidden is not None:
        raise forbidden
    source = MininetSource(topology, (), None, str(Path.cwd())) if ":" in topology else load_topology(topology)
    params = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"--set takes KEY=VALUE, not {text!r}")
        params[key] = _value(key, value)
    wrong = source.check(params)
    if wrong:
        raise ScenarioError([Problem(source.name, 0, f"--set {name}", text) for name, text in wrong.items()])
    process = open_lab(source.resolve(params), *([str(commands.resolve())] if commands else []))
    try:
        status = process.wait()
    except KeyboardInterrupt:
        status = process.wait()
    if status in (EXIT_MACHINE, EXIT_HARNESS):  # it has said why
        sys.exit(status)
    if status != 0:
        raise LabError(f"the lab ended with status {status}")


def _value(key: str, text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScenarioError([Problem("--set", 0, key, f"this is not YAML: {text!r}")]) from error
