"""The command line: names and arguments only; what a command does is in the module that it loads.

Commands are loaded when they are called, so that `--help` is instant and `report` never imports Mininet.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from harness.errors import EXIT_SIGNAL, OverlaybenchError, ScenarioError, StorageError
from harness.overlay.search_path import search_path
from harness.sandbox.program import drop_unwritten_output

_COMMANDS = {
    "doctor": "harness.commands.doctor:doctor_command",
    "list": "harness.commands.listing:list_command",
    "check": "harness.commands.check:check_command",
    "plan": "harness.commands.plan:plan_command",
    "run": "harness.commands.run:run_command",
    "simulate": "harness.commands.simulate:simulate_command",
    "merge": "harness.commands.merge:merge_command",
    "report": "harness.commands.report:report_command",
    "compare": "harness.commands.compare:compare_command",
    "trend": "harness.commands.trend:trend_command",
    "site": "harness.commands.site:site_command",
    "publish": "harness.commands.publish:publish_command",
    "calibrate": "harness.commands.calibrate:calibrate_group",
    "shell": "harness.commands.shell:shell_command",
    "enter": "harness.commands.enter:enter_command",
    "install": "harness.commands.install:install_command",
    "hosts": "harness.commands.hosts:hosts_group",
    "new": "harness.commands.new:new_command",
    "contract": "harness.commands.contract:contract_command",
}
_HELP = {
    "doctor": "Show what this machine can do, what is missing, and how to get it.",
    "list": "List scenarios, populations, topologies, overlays, NATs, links, probes or events.",
    "check": "Check scenario, topology, population and adapter files.",
    "plan": "List the trials of a scenario; needs no privileges.",
    "run": "Run a scenario.",
    "simulate": "Run an overlay's own engine over a population, in memory.",
    "merge": "Merge the shards of a run.",
    "report": "Make tables, plots and report.html from a result folder.",
    "compare": "Compare two runs statistically.",
    "trend": "Find what changed over many runs, of successive versions or commits.",
    "site": "Make a static site of any number of runs.",
    "publish": "Make a small copy of a run, to keep under version control.",
    "calibrate": "Check every NAT behaviour or link backend on this machine.",
    "shell": "Open Mininet's CLI in a lab.",
    "enter": "Open a shell in a node of a paused trial.",
    "install": "Install an overlay's software.",
    "hosts": "Prepare what a run over many machines needs.",
    "new": "Write the skeleton of an overlay, a probe, an event or a scenario.",
    "contract": "Check that an adapter (yours, for example) keeps the contract.",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; click itself would end silently, with status 1, when its output is no longer read."""
        try:
            status = super().invoke(ctx)
            sys.stdout.flush()  # here a full disk or a closed pipe is still an error of ours
        except OSError as error:
            if isinstance(error, BrokenPipeError) or (error.filename is None and _cannot_print()):
                raise StorageError.of(error, "standard output") from error
            raise
        return status

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return names from the table: click's own would load every command to ask whether it is hidden."""
        named = [CompletionItem(name, help=text) for name, text in _HELP.items() if name.startswith(incomplete)]
        return named + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_HELP.items()))


def _cannot_print() -> bool:
    """Tell whether standard output is what cannot be written: it still holds something, or its disk is full."""
    try:
        sys.stdout.flush()
        return os.fstatvfs(sys.stdout.fileno()).f_bavail == 0
    except OSError:
        return True


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="overlaybench")
def cli() -> None:
    """Emulate networks with NATs on this machine and measure overlay networks on them.

    \b
    overlaybench run demo                 the comparison that comes with the program
    overlaybench check my-scenario.yaml   is the file right?
    overlaybench doctor                   is the machine?

    Exit codes: 0 done and every expectation met, 1 an expectation failed, an invalid trial or a regression, 2 the input
    is wrong, 3 the machine lacks something, 4 the harness failed, 130 stopped by Ctrl-C (128 and a signal's number).
    """


def main() -> None:
    """Run the program: every error of ours becomes its line on stderr and its exit code."""
    os.environ["PATH"] = search_path()
    try:
        status = cli.main(standalone_mode=False)
        # click hands `ctx.exit(n)` back as a value in this mode, and a command's own return value as well.
        sys.exit(status if isinstance(status, int) else 0)
    except ScenarioError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        sys.exit(error.exit_code)
    except OverlaybenchError as error:
        _fail(error)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("overlaybench: stopped", err=True)
        sys.exit(EXIT_SIGNAL + signal.SIGINT)
    except OSError as error:
        _fail(StorageError.of(error))


def _fail(error: OverlaybenchError) -> NoReturn:
    """Print what is wrong in a line, if the stream is still open, and end with the error's exit code."""
    with contextlib.suppress(OSError):
        click.echo(f"overlaybench: {error}", err=True)
    drop_unwritten_output()
    sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
