"""The campaign on the terminal: a live line for each running trial; elsewhere one plain line per finished trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from harness.model.trial import Trial
from harness.results.paths import paths_of, trial_figures
from harness.results.record import Record

_STYLES = {"ok": "green", "failed": "red", "unsupported": "dim", "invalid": "yellow", "error": "bold red"}


def one_line(trial: Trial, records: Sequence[Record]) -> str:
    """Return a finished trial in a line: outcome, path, and the figure that people look for first."""
    last = records[-1]
    words = [f"{trial.id}: {last.outcome}", *([last.layer] if last.layer else [])]
    rows = [record.as_dict() for record in records]
    if paths := paths_of(rows).text:
        words.append(paths)
    figures = trial_figures(rows)
    for metric, form in (
        ("time_to_connect_s", "connect {:.2f} s"),
        ("time_to_direct_s", "direct {:.2f} s"),
        ("rtt_p50_ms", "RTT {:.2f} ms"),
        ("tcp_throughput_mbit", "{:.0f} Mbit/s"),
    ):
        if math.isfinite(value := figures.get(metric, math.inf)):
            words.append(form.format(value))
    if last.error:
        words.append(last.error.strip().splitlines()[0][:160])
    return ", ".join(words)


class PlainProgress:
    """Plain lines, for pipes and logs."""

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total, self._done = console, total, 0

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def began(self, trial: Trial) -> None:
        """Print nothing: a log only needs the end."""

    def step(self, trial: Trial, text: str) -> None:
        """Print nothing."""

    def ended(self, trial: Trial, records: Sequence[Record], complaints: Sequence[str]) -> None:
        """Print one line, and one for each expectation that was not met."""
        self._done += 1
        self._console.print(f"[{self._done}/{self._total}] {one_line(trial, records)}", markup=False, soft_wrap=True)
        for complaint in complaints:
            self._console.print(f"    not as expected: {complaint}", markup=False, soft_wrap=True)


class LiveProgress:
    """A live display for a terminal: a bar with the time left, and what each running trial does."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._all = self._bars.add_task("trials", total=total)
        self._running: dict[str, TaskID] = {}

    def __enter__(self) -> LiveProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def began(self, trial: Trial) -> None:
        """Add a line for the trial."""
        self._running[trial.id] = self._bars.add_task(f"  {trial.id}: starting", total=None)

    def step(self, trial: Trial, text: str) -> None:
        """Show what it does now."""
        if trial.id in self._running:
            self._bars.update(self._running[trial.id], description=f"  {trial.id}: {text}")

    def ended(self, trial: Trial, records: Sequence[Record], complaints: Sequence[str]) -> None:
        """Move the trial's line above the bars for good."""
        if trial.id in self._running:
            self._bars.remove_task(self._running.pop(trial.id))
        self._bars.advance(self._all)
        style = _STYLES.get(records[-1].outcome, "")
        self._bars.console.print(one_line(trial, records), style=style, markup=False, highlight=False)
        for complaint in complaints:
            self._bars.console.print(f"    not as expected: {complaint}", style="red", markup=False, highlight=False)


def progress_for(console: Console, total: int) -> PlainProgress | LiveProgress:
    """Return a live display for a terminal, plain lines for anything else."""
    return LiveProgress(console, total) if console.is_terminal else PlainProgress(console, total)
