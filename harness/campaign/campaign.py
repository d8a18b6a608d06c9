"""A plan's trials, run on a host, and the records kept of them. Enters no namespace and does not schedule turns."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.campaign.baselines import Baselines
from harness.campaign.outcomes import Context, records_of
from harness.errors import StorageError, storage_errors
from harness.hosts.contract import STARTING, Host, HostFacts, ManyHosts
from harness.hosts.rendering import job_of
from harness.model.trial import Trial
from harness.model.words import Outcome
from harness.overlay.contract import Overlay
from harness.results.expectations import Expected, unmet
from harness.results.record import Record
from harness.results.store import RunFolder
from harness.results.times import utc_now
from harness.trial.messages import Done


class Progress(Protocol):
    """Where the campaign reports its progress."""

    def began(self, trial: Trial) -> None:
        """Report that a trial has started."""

    def step(self, trial: Trial, text: str) -> None:
        """Report a trial's present step."""

    def ended(self, trial: Trial, records: Sequence[Record], complaints: Sequence[str]) -> None:
        """Report that a trial's records are on the disk."""


@dataclass
class Tally:
    """The sum of a campaign; whether it is as expected the whole folder tells (`harness.results.run_judgement`).

    `interrupted` is the number of the signal that stopped it, 0 when it ran to its end.
    """

    outcomes: dict[str, int] = field(default_factory=dict)
    interrupted: int = 0
    instruments: dict[str, dict[str, str]] = field(default_factory=dict)
    """Link backends that were used, each with the sysctls of a lab's nodes as read back."""

    def add(self, other: Tally) -> None:
        """Count another campaign's trials as well."""
        for outcome, count in other.outcomes.items():
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + count
        self.interrupted = self.interrupted or other.interrupted
        self.instruments |= other.instruments


class Campaign:
    """One run over one result folder."""

    def __init__(
        self,
        *,
        folder: RunFolder,
        run: str,
        overlays: Mapping[str, Overlay],
        host: Host,
        facts: HostFacts,
        progress: Progress,
        underlays: Sequence[Trial] = (),
        pause_on: tuple[Outcome, ...] = (),
        live: bool = False,
    ) -> None:
        """Make a campaign; `underlays` are trials of the plan that may have ended in an earlier one."""
        self.folder = folder
        self.run_id = run
        self.overlays = overlays
        self.host = host
        self.host_facts = facts
        self.progress = progress
        self.pause_on = pause_on
        self.live = live
        self.baselines = Baselines(folder.read().records)
        self.tally = Tally()
        self._underlays: dict[int, asyncio.Event] = {}
        self._underlay_of = {trial.seed: trial for trial in underlays}
        self._again: dict[tuple[int, str], asyncio.Task[None]] = {}

    def run(self, trials: Sequence[Trial]) -> Tally:
        """Run all trials. Ctrl-C or SIGTERM stops the host; what was done is returned, with `interrupted` set.

        Raises:
            StorageError: the folder cannot be written; what is in it stays readable, and the run can be resumed.
        """
        asyncio.run(self._run(trials))
        return self.tally

    async def _run(self, trials: Sequence[Trial]) -> None:
        loop = asyncio.get_running_loop()
        main = asyncio.current_task()
        assert main is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, main, number)
        waiting, tasks = deque(trials), set[asyncio.Task[None]]()
        self._underlays = {trial.seed: asyncio.Event() for trial in trials if trial.mode == "underlay"}
        self._underlay_of |= {trial.seed: trial for trial in trials if trial.mode == "underlay"}
        try:
            while waiting or tasks:
                # No more than the host takes: a trial's keys are made when it starts, not hours before.
                while (trial := self._next(waiting, len(tasks))) is not None:
                    tasks.add(asyncio.create_task(self._trial(trial)))
                done, tasks = await self._first_of(tasks)
                # Two may fail in the same moment, and a failure that is never fetched is printed as a traceback.
                failures = [failure for task in done if (failure := task.exception())]
                if failures:
                    raise failures[0]
        except asyncio.CancelledError:
            self.tally.interrupted = self.tally.interrupted or signal.SIGINT
        finally:
            ending = [*tasks, *self._again.values()]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            await self.host.close()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _next(self, waiting: deque[Trial], running: int) -> Trial | None:
        """Take the trial that is to start now; None where there is no place for any."""
        if not isinstance(self.host, ManyHosts):
            return waiting.popleft() if waiting and running < self.host.slots else None
        trial = self.host.choose(waiting)
        if trial is not None:
            waiting.remove(trial)
        return trial

    async def _first_of(
        self, tasks: set[asyncio.Task[None]]
    ) -> tuple[set[asyncio.Task[None]], set[asyncio.Task[None]]]:
        """Wait until a trial has ended, or a host is back; return those that have ended, and the others."""
        if not isinstance(self.host, ManyHosts):
            return await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        change = asyncio.create_task(self.host.changed())
        try:
            done, left = await asyncio.wait({*tasks, change}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            change.cancel()
        return done - {change}, left - {change}

    def _stop(self, main: asyncio.Task[None], number: signal.Signals) -> None:
        self.tally.interrupted = number
        main.cancel()

    async def _trial(self, trial: Trial) -> None:
        overlay = self.overlays[trial.overlay]
        beginning = _Beginning(trial, self.progress)
        done = await self._done(trial, overlay, beginning)
        duration_s = beginning.duration_s()
        facts = self.host.ran_on(trial) if isinstance(self.host, ManyHosts) else self.host_facts
        await self._await_baseline(trial, facts.id)
        if done.cannot_write is not None:
            # The trial shows nothing and is not recorded, so that --resume runs it again.
            raise StorageError(done.cannot_write)
        version = facts.overlay_versions.get(trial.overlay)
        context = Context(self.run_id, facts.id, overlay, version, beginning.started_at)
        records = self.baselines.complete(trial, records_of(trial, done, duration_s, context))
        if trial.mode == "underlay":
            self._underlays[trial.seed].set()
        with storage_errors(self.folder.records_path):
            self.folder.append(records)
        complaints = unmet(Expected.of(trial), [record.as_dict() for record in records])
        self.tally.outcomes[done.outcome] = self.tally.outcomes.get(done.outcome, 0) + 1
        self.tally.instruments[done.link_backend] = done.sysctls
        self.progress.ended(trial, records, complaints)

    async def _await_baseline(self, trial: Trial, host: str) -> None:
        """Wait, where a probe compares with the cell's underlay, for that trial's end: another may have been quicker.

        It stands before all others of its cell in the plan, so it runs already, or has ended. Where it ran on another
        host, since lost, it is measured on this one as well.
        """
        wanted = any(settings.baseline_of_cell for settings in trial.probes.named())
        if not wanted or trial.mode == "underlay":
            return
        if trial.seed in self._underlays:
            await self._underlays[trial.seed].wait()
        underlay = self._underlay_of.get(trial.seed)
        if underlay is None or not self.baselines.is_elsewhere(trial.seed, host):
            return
        if (trial.seed, host) not in self._again:
            self._again[trial.seed, host] = asyncio.create_task(self._measure_again(underlay, host))
        await asyncio.shield(self._again[trial.seed, host])

    async def _measure_again(self, underlay: Trial, host: str) -> None:
        """Measure a cell's underlay on another host; its figures are a baseline and no records of their own."""
        overlay = self.overlays[underlay.overlay]
        job = job_of(underlay, overlay)
        if not isinstance(self.host, ManyHosts) or isinstance(job, Done):
            return
        again = f"again-{host}"
        folder = self.folder.path / "trials" / underlay.id / again
        with storage_errors(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        beginning = _Beginning(underlay, self.progress)
        try:
            done = await self.host.run(job, folder, beginning.step)
        finally:
            self.host.leave(underlay)
        moved = [{**one, "evidence": f"{again}/{one['evidence']}"} for one in done.measurements if one.get("evidence")]
        others = [one for one in done.measurements if not one.get("evidence")]
        facts = self.host.ran_on(underlay)
        context = Context(self.run_id, facts.id, overlay, None, beginning.started_at)
        found = done.model_copy(update={"measurements": [*moved, *others]})
        self.baselines.complete(underlay, records_of(underlay, found, beginning.duration_s(), context))

    async def _done(self, trial: Trial, overlay: Overlay, beginning: _Beginning) -> Done:
        """Return the trial's end, whether the host was needed for it or not."""
        try:
            job = job_of(trial, overlay)
            if isinstance(job, Done):
                return job
            job = job.model_copy(update={"pause_on": self.pause_on, "live": self.live})
            return await self.host.run(job, self._fresh_folder(trial), beginning.step)
        finally:
            if isinstance(self.host, ManyHosts):
                self.host.leave(trial)

    def _fresh_folder(self, trial: Trial) -> Path:
        folder = self.folder.path / "trials" / trial.id
        with storage_errors(folder):
            if folder.exists():  # a trial that a killed run left half done
                shutil.rmtree(folder)
            folder.mkdir(parents=True)
        return folder


class _Beginning:
    """The moment at which a trial began: at its first step, not when it was queued on a busy host."""

    def __init__(self, trial: Trial, progress: Progress) -> None:
        self._trial, self._progress = trial, progress
        self._began: float | None = None
        self.started_at = utc_now("milliseconds")

    def step(self, text: str) -> None:
        """Note the trial's step; one that its host had to give up begins again."""
        if self._began is None:
            self._progress.began(self._trial)
        if self._began is None or text == STARTING:
            self._began, self.started_at = time.monotonic(), utc_now("milliseconds")
        self._progress.step(self._trial, text)

    def duration_s(self) -> float:
        """Return the seconds since the first step; 0 for a trial that never began."""
        return 0.0 if self._began is None else time.monotonic() - self._began
