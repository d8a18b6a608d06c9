"""A program run to its end within a time, or ended: a hang is an error with a name, never an exception of Python's."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import CommandTimedOut

Ended = subprocess.CompletedProcess[str]


def run_command(
    argv: Sequence[str],
    *,
    timeout_s: float,
    where: str,
    enter: Sequence[str] = (),
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Ended:
    """Run a program and return its status with all that it printed.

    Args:
        argv: the program, as errors name it.
        timeout_s: after so long it is killed.
        where: the node, for people.
        enter: what runs before `argv` to get there.
        stdin: what it reads; None leaves it ours.
        cwd: its working directory; None is ours.
        env: its whole environment; None is ours.

    Raises:
        CommandTimedOut: it did not end in time; has the end of what it printed until then.
    """
    try:
        return subprocess.run(
            [*enter, *argv],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            cwd=cwd,
            env=env,
        )
    except subprocess.TimeoutExpired as late:
        raise CommandTimedOut(argv, timeout_s, _text(late.stdout) + _text(late.stderr), where) from None


def _text(said: str | bytes | None) -> str:
    """Return what was printed until then, which comes undecoded even from a process that was read as text."""
    return said.decode(errors="replace") if isinstance(said, bytes) else said or ""
