"""The campaign on the terminal: a live line for each running trial; elsewhere one plain line per finished trial."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from harness.model.trial import Trial
from harness.results.numbers import plain
from harness.results.paths import paths_of, trial_figures
from harness.results.record import Record
from harness.trial.messages import NOW, PAUSED

_STYLES = {"ok": "green", "failed": "red", "unsupported": "dim", "invalid": "yellow", "error": "bold red"}


def one_line(trial: Trial, records: Sequence[Record], hosts: Mapping[str, str] | None = None) -> str:
    """Return a finished trial in a line: outcome, path, and the figure that people look for first.

    Args:
        hosts: names by id, where there are several.
    """
    last = records[-1]
    words = [f"{trial.id}: {last.outcome}", *([last.layer] if last.layer else [])]
    if hosts and last.host:
        words.insert(1, f"on {hosts.get(last.host, last.host)}")
    rows = [record.as_dict() for record in records]
    if paths := paths_of(rows).text:
        words.append(paths)
    figures = trial_figures(rows)
    for metric, said in (
        ("time_to_connect_s", "connect {:.2f} s".format),
        ("time_to_direct_s", "direct {:.2f} s".format),
        ("rtt_p50_ms", "RTT {:.2f} ms".format),
        ("tcp_throughput_mbit", lambda value: f"{plain(value, 2)} Mbit/s"),
    ):
        of_paths = {path: value for path, value in figures.get(metric, {}).items() if math.isfinite(value)}
        words += [said(value) + f" {path}" * (len(of_paths) > 1) for path, value in of_paths.items()]
    if last.error:
        words.append(last.error.strip().splitlines()[0][:160])
    return ", ".join(words)


class PlainProgress:
    """Plain lines, for pipes and logs."""

    def __init__(
        self, console: Console, total: int, hosts: Mapping[str, str] | None = None, *, live: bool = False
    ) -> None:
        self._console, self._total, self._done, self._hosts = console, total, 0, hosts
        self._live, self._begun = live, time.monotonic()

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def began(self, trial: Trial) -> None:
        """Print nothing: a log only needs the end."""

    def step(self, trial: Trial, text: str) -> None:
        """Print a line where the trial waits for its user, or everything is to be seen."""
        if self._live or text.startswith(PAUSED):
            self._console.print(_timed(self._begun, trial, text), markup=False, highlight=False, soft_wrap=True)

    def ended(self, trial: Trial, records: Sequence[Record], complaints: Sequence[str]) -> None:
        """Print one line, and one for each expectation that was not met."""
        self._done += 1
        text = f"[{self._done}/{self._total}] {one_line(trial, records, self._hosts)}"
        self._console.print(text, markup=False, soft_wrap=True)
        for complaint in complaints:
            self._console.print(f"    not as expected: {complaint}", markup=False, soft_wrap=True)


class LiveProgress:
    """A live display for a terminal: a bar with the time left, and what each running trial does."""

    def __init__(
        self, console: Console, total: int, hosts: Mapping[str, str] | None = None, *, live: bool = False
    ) -> None:
        self._console, self._hosts = console, hosts
        self._live, self._begun = live, time.monotonic()
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
        """Show what it does now; print what is to stay, where everything is to be seen or it waits for its user."""
        if text.startswith(PAUSED) or (self._live and not text.startswith(NOW)):
            line = _timed(self._begun, trial, text)
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
        if trial.id in self._running:
            self._bars.update(self._running[trial.id], description=f"  {trial.id}: {text}")

    def ended(self, trial: Trial, records: Sequence[Record], complaints: Sequence[str]) -> None:
        """Move the trial's line above the bars for good."""
        if trial.id in self._running:
            self._bars.remove_task(self._running.pop(trial.id))
        self._bars.advance(self._all)
        style = _STYLES.get(records[-1].outcome, "")
        text = one_line(trial, records, self._hosts)
        self._bars.console.print(text, style=style, markup=False, highlight=False)
        for complaint in complaints:
            self._bars.console.print(f"    not as expected: {complaint}", style="red", markup=False, highlight=False)


def _timed(begun: float, trial: Trial, text: str) -> str:
    return f"{time.monotonic() - begun:7.1f} s  {trial.id}: {text}"


def progress_for(
    console: Console, total: int, hosts: Mapping[str, str] | None = None, *, live: bool = False
) -> PlainProgress | LiveProgress:
    """Return a live display for a terminal, plain lines for anything else.

    `hosts` are names by id, where several; `live` shows all that trials say.
    """
    kind = LiveProgress if console.is_terminal else PlainProgress
    return kind(console, total, hosts, live=live)
