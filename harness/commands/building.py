"""Builds on the terminal: a live line each; in a log, a line now and then."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from harness.overlay.install import BEGUN, READY, Say

_LOG_EVERY_S = 30.0


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
    """Plain lines: begin and end of everything, and in between the progress, every half minute."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began: dict[str, float] = {}
        self._said: dict[str, float] = {}
        self._lines: dict[str, int] = {}

    def __call__(self, who: str, line: str) -> None:
        now = time.monotonic()
        began = self._began.setdefault(who, now)
        self._lines[who] = self._lines.get(who, 0) + 1
        due = now - self._said.get(who, began) >= _LOG_EVERY_S
        if due or line in (BEGUN, READY) or self._lines[who] == 1:
            self._said[who] = now
            step = "" if line in (BEGUN, READY) else f"step {self._lines[who]}: "
            self._console.print(
                f"{who} [{now - began:4.0f} s] {step}{line}", markup=False, highlight=False, soft_wrap=True
            )
