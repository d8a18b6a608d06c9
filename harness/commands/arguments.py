"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from harness.scenario.load import bundled


class Bundled(click.ParamType[str]):
    """A path or the name of a file that comes with the program, in `folder`; a shell completes both."""

    name = "text"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002  # click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return names that begin so, and after them the shell's own files."""
        return [
            *(CompletionItem(name) for name in bundled(self.folder) if name.startswith(incomplete)),
            CompletionItem(incomplete, type="file"),
        ]


def examples(*lines: str) -> str:
    """Return an epilog for `--help`: commands to paste."""
    return "\b\nExamples:\n" + "".join(f"  {line}\n" for line in lines)


only_option = click.option(
    "--only", multiple=True, metavar="KEY=VALUE", help="Only trials with this value; may be given again."
)


def pairs(texts: tuple[str, ...], option: str) -> dict[str, list[str]]:
    """Parse `("a=1", "a=2")` into `{"a": ["1", "2"]}`."""
    found: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{option} takes KEY=VALUE, not {text!r}")
        found.setdefault(key, []).append(value)
    return found
