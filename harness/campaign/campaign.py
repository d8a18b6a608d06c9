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
from harness.errors import OverlaybenchError, StorageError, storage_errors
from harness.hosts.contract import Host, HostFacts
from harness.model.trial import Trial
from harness.overlay.collisions import collisions
from harness.overlay.contract import Overlay
from harness.overlay.support import why_unsupported
from harness.results.expectations import Expected, unmet
from harness.results.record import Record
from harness.results.store import RunFolder
from harness.results.times import utc_now
from harness.trial.messages import Done, Job


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
    """The sum of a campaign; whether it is as expected the whole folder tells (`harness.results.run_judgement`)."""

    outcomes: dict[str, int] = field(default_factory=dict)
    interrupted: bool = False
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
    ) -> None:
        self.folder = folder
        self.run_id = run
        self.overlays = overlays
        self.host = host
        self.host_facts = facts
        self.progress = progress
        self.baselines = Baselines(folder.read().records)
        self.tally = Tally()
        self._underlays: dict[int, asyncio.Event] = {}

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
            loop.add_signal_handler(number, main.cancel)
        waiting, tasks = deque(trials), set[asyncio.Task[None]]()
        self._underlays = {trial.seed: asyncio.Event() for trial in trials if trial.mode == "underlay"}
        try:
            while waiting or tasks:
                # No more than the host takes: a trial's keys are made when it starts, not hours before.
                while waiting and len(tasks) < self.host.slots:
                    tasks.add(asyncio.create_task(self._trial(waiting.popleft())))
                done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                # Two may fail in the same moment, and a failure that is never fetched is printed as a traceback.
                failures = [failure for task in done if (failure := task.exception())]
                if failures:
                    raise failures[0]
        except asyncio.CancelledError:
            self.tally.interrupted = True
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.host.close()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    async def _trial(self, trial: Trial) -> None:
        overlay = self.overlays[trial.overlay]
        beginning = _Beginning(trial, self.progress)
        done = await self._done(trial, overlay, beginning)
        duration_s = beginning.duration_s()
        await self._await_baseline(trial)
        if done.cannot_write is not None:
            # The trial shows nothing and is not recorded, so that --resume runs it again.
            raise StorageError(done.cannot_write)
        version = self.host_facts.overlay_versions.get(trial.overlay)
        context = Context(self.run_id, self.host_facts.id, overlay, version, beginning.started_at)
        records = self.baselines.complete(trial, records_of(trial, done, duration_s, context))
        if trial.mode == "underlay":
            self._underlays[trial.seed].set()
        with storage_errors(self.folder.records_path):
            self.folder.append(records)
        complaints = unmet(Expected.of(trial), [record.as_dict() for record in records])
        self.tally.outcomes[done.outcome] = self.tally.outcomes.get(done.outcome, 0) + 1
        self.tally.instruments[done.link_backend] = done.sysctls
        self.progress.ended(trial, records, complaints)

    async def _await_baseline(self, trial: Trial) -> None:
        """Wait, where a probe compares with the cell's underlay, for that trial's end: another may have been quicker.

        It stands before all others of its cell in the plan, so it runs already, or has ended.
        """
        wanted = any(settings.baseline_of_cell for settings in trial.probes.named())
        if wanted and trial.mode != "underlay" and trial.seed in self._underlays:
            await self._underlays[trial.seed].wait()

    async def _done(self, trial: Trial, overlay: Overlay, beginning: _Beginning) -> Done:
        """Return the trial's end, whether the host was needed for it or not."""
        unsupported = why_unsupported(trial, overlay)
        if unsupported is not None:
            return Done(outcome="unsupported", error=unsupported)
        try:
            job = Job(trial=trial, deployment=overlay.render(trial))
        except OverlaybenchError as error:
            return Done(outcome=error.outcome, error=str(error))  # type: ignore[arg-type]
        except ValueError as error:
            return Done(outcome="error", error=f"{trial.overlay} cannot render this trial: {error}")
        if same := collisions(job.deployment, trial.topology):
            return Done(outcome="invalid", error=f"hosts would answer themselves: {'; '.join(same)}")
        return await self.host.run(job, self._fresh_folder(trial), beginning.step)

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
        """Note the trial's step."""
        if self._began is None:
            self._began, self.started_at = time.monotonic(), utc_now("milliseconds")
            self._progress.began(self._trial)
        self._progress.step(self._trial, text)

    def duration_s(self) -> float:
        """Return the seconds since the first step; 0 for a trial that never began."""
        return 0.0 if self._began is None else time.monotonic() - self._began
