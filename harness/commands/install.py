"""`overlaybench install OVERLAY...`: the overlays' software, or the command that gets it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from harness.commands.arguments import examples
from harness.commands.building import shown_progress
from harness.errors import EXIT_INPUT, OverlaybenchError
from harness.model.document import did_you_mean
from harness.overlay import install
from harness.overlay.registry import load_overlay, overlay_names
from harness.overlay.requirement import Requirement

_EPILOG = examples(
    "overlaybench install nebula openvpn",
    "overlaybench install --all",
    "overlaybench install --all --jobs 1",
)


def _names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in overlay_names() if name.startswith(incomplete)]


@click.command("install", epilog=_EPILOG)
@click.argument("overlays", nargs=-1, metavar="OVERLAY...", shell_complete=_names)
@click.option("--all", "everything", is_flag=True, help="All overlays except those whose build takes half an hour.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of processes to compile with. Default: number of processors.",
)
def install_command(overlays: tuple[str, ...], everything: bool, jobs: int | None) -> None:
    """Get the software of OVERLAY: packages of Debian and Python, pinned builds into the user's cache folder."""
    if bool(overlays) == everything:
        raise click.UsageError("name overlays, or give --all")
    for name in overlays:
        if name not in overlay_names():
            click.echo(f"no overlay {name}{did_you_mean(name, overlay_names())}", err=True)
            sys.exit(EXIT_INPUT)
    wanted = {name: load_overlay(name).requirements() for name in overlays or overlay_names()}
    if everything:
        wanted = {name: needed for name, needed in wanted.items() if not _left_out(name, needed)}
    here = {name for name, needed in wanted.items() if not install.missing(needed)}
    with shown_progress() as say:
        failures = install.install([one for needed in wanted.values() for one in needed], say, jobs)
    for name, needed in wanted.items():
        _conclude(name, name in here, _failure(needed, failures))
    if failures:
        sys.exit(max(error.exit_code for error in failures.values()))


def _left_out(name: str, needed: Sequence[Requirement]) -> bool:
    """Say what `--all` does not get: what cannot be installed here, and what is built on request alone."""
    for one in install.missing(needed):
        if not one.is_installable:
            click.echo(f"{name}: not installed: {one.program} has to be got by hand: {one.install}", err=True)
            return True
        if one.on_request:
            click.echo(f"{name}: not installed, because its build takes long: overlaybench install {name}", err=True)
            return True
    return False


def _failure(needed: Sequence[Requirement], failures: dict[str, OverlaybenchError]) -> OverlaybenchError | None:
    return next((failures[one.program] for one in needed if one.program in failures), None)


def _conclude(name: str, was_here: bool, error: OverlaybenchError | None) -> None:
    said = str(error) if error is not None else "everything is installed" if was_here else "ready"
    click.echo(f"{name}: {said}", err=True)
