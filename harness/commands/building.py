"""Builds on the terminal: a live line each; in a log one that stays."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from harness.overlay.install import BEGUN, READY, Say


@contextlib.contextmanager
def shown_progress() -> Iterator[Say]:
    """Yield the function to which `install` reports its progress; all goes to stderr."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Log(console)
        return
    columns = (SpinnerColumn(), TextColumn("{task.fields[who]}", style="bold"), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=console) as progress:
        yield _Lines(progress)


class _Lines:
    """One line for each program, package manager or whatever else there is; its end is what was said last."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def __call__(self, who: str, line: str) -> None:
        with self._lock:
            if who not in self._tasks:
                self._tasks[who] = self._progress.add_task("", total=None, who=who)
        room = max(10, self._progress.console.width - len(who) - 20)
        self._progress.update(self._tasks[who], description=line[-room:])
        if line == READY:
            self._progress.update(self._tasks[who], total=1, completed=1)


class _Log:
    """One plain line for each: a build's when it is ready, with its time; of all else what it was first heard to do.

    What fails is told at the end, by whoever asked for it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began: dict[str, float] = {}

    def __call__(self, who: str, line: str) -> None:
        now = time.monotonic()
        is_first = who not in self._began
        began = self._began.setdefault(who, now)
        if line == READY or (is_first and line != BEGUN):
            text = f"{who} [{now - began:4.0f} s] {line}" if line == READY else f"{who}: {line}"
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
