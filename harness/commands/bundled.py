"""An argument that names a file which comes with the program."""

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
