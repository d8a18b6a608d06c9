"""The terminal for all commands."""

from __future__ import annotations

import rich.console


class Console(rich.console.Console):
    """A rich console that leaves a closed pipe to the command line, which ends with its own line and status."""

    def on_broken_pipe(self) -> None:
        """Pass the error on that is being handled; rich would end the program in silence with status 1."""
        raise  # noqa: PLE0704  # rich calls this while it handles the error
