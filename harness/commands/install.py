"""`overlaybench install OVERLAY...`: gets an overlay's software, or says which command does."""

from __future__ import annotations

import sys
import time

import click

from harness.commands.arguments import examples
from harness.errors import EXIT_INPUT, OverlaybenchError
from harness.model.document import did_you_mean
from harness.overlay import install
from harness.overlay.registry import load_overlay, overlay_names

_EPILOG = examples(
    "overlaybench install nebula openvpn",
    "overlaybench install tailscale",
)


def _names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in overlay_names() if name.startswith(incomplete)]


@click.command("install", epilog=_EPILOG)
@click.argument("overlays", nargs=-1, required=True, metavar="OVERLAY...", shell_complete=_names)
def install_command(overlays: tuple[str, ...]) -> None:
    """Get the software of OVERLAY: Debian packages, or a pinned build into the user's cache folder."""
    for name in overlays:
        if name not in overlay_names():
            click.echo(f"no overlay {name}{did_you_mean(name, overlay_names())}", err=True)
            sys.exit(EXIT_INPUT)
    # One that cannot be had must not keep the others from being fetched; the worst failure is the exit code.
    failures: list[OverlaybenchError] = []
    for name in overlays:
        try:
            _install(name)
        except OverlaybenchError as error:
            click.echo(f"{name}: {error}", err=True)
            failures.append(error)
    if failures:
        sys.exit(max(error.exit_code for error in failures))


def _install(name: str) -> None:
    requirements = load_overlay(name).requirements()
    if not install.missing(requirements):
        click.echo(f"{name}: everything is here", err=True)
        return
    install.install(requirements, _Progress(name))
    click.echo(f"{name}: ready", err=True)


class _Progress:
    """Lines on stderr; on a terminal a build's package names overwrite each other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.began = time.monotonic()

    def __call__(self, line: str) -> None:
        text = f"{self.name} [{time.monotonic() - self.began:4.0f} s] {line}"
        if sys.stderr.isatty() and " " not in line:
            click.echo(f"\r\x1b[K{text[:100]}", nl=False, err=True)
        else:
            click.echo(text, err=True)
