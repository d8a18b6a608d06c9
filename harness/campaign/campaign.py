"""Runs a plan's trials: side by side where they only wait, alone where they load the machine. Enters no namespace."""

from __future__ import annotations

import asyncio
import datetime
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import TypeAdapter

from harness.campaign.outcomes import Context, Throughputs, against_cell, records_of, throughputs, unmet
from harness.errors import OverlaybenchError
from harness.hosts.turns import Turns
from harness.hosts.workers import Worker, Workers
from harness.model.trial import Trial
from harness.overlay.contract import Overlay
from harness.overlay.support import why_unsupported
from harness.results.record import COUNTED, Record
from harness.results.store import RunFolder
from harness.trial.lateness import ATTEMPTS
from harness.trial.messages import Done, Job, Step, WantTurn

# A worker that neither asks for a turn nor ends within its probes' own time plus this is taken for dead.
PATIENCE_S = 120.0
_MESSAGE = TypeAdapter(WantTurn | Step | Done)


class Progress(Protocol):
    """Where the campaign says what it does."""

    def began(self, trial: Trial) -> None:
        """A trial has started."""

    def step(self, trial: Trial, text: str) -> None:
        """A trial does something else now."""

    def ended(self, trial: Trial, records: Sequence[Record], complaints: Sequence[str]) -> None:
        """A trial's records are on the disk."""


@dataclass
class Tally:
    """What a campaign came to."""

    outcomes: dict[str, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    interrupted: bool = False
    instruments: dict[str, dict[str, str]] = field(default_factory=dict)
    """Link backends that were used, each with the sysctls of a lab's nodes as read back."""


class Campaign:
    """One run over one result folder."""

    def __init__(
        self,
        *,
        folder: RunFolder,
        run: str,
        overlays: Mapping[str, Overlay],
        versions: Mapping[str, str | None],
        jobs: int,
        progress: Progress,
    ) -> None:
        self.folder = folder
        self.run_id = run
        self.overlays = overlays
        self.versions = versions
        self.progress = progress
        self.turns = Turns(jobs)
        self.workers = Workers(str(folder.path))
        # By seed: trials of one cell and repeat share it. A resumed run finds its baselines on the disk.
        self.baselines: dict[int, Throughputs] = {}
        for line in folder.read().records:
            if line["mode"] != "underlay" or line["metric"] != "tcp_throughput_mbit" or line["outcome"] not in COUNTED:
                continue
            if line["value"] is not None:
                self.baselines.setdefault(line["seed"], {})[line["src"], line["dst"]] = line["value"]
        self.tally = Tally()
        self._granted: dict[str, asyncio.Event] = {}
        self._changed = asyncio.Event()

    def run(self, trials: Sequence[Trial]) -> Tally:
        """Run all trials. Ctrl-C or SIGTERM stops the workers and returns what was done, `interrupted` set."""
        asyncio.run(self._run(trials))
        return self.tally

    async def _run(self, trials: Sequence[Trial]) -> None:
        loop = asyncio.get_running_loop()
        main = asyncio.current_task()
        assert main is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, main.cancel)
        waiting = list(trials)
        tasks: set[asyncio.Task[None]] = set()
        try:
            while waiting or tasks:
                while waiting and self.turns.may_admit:
                    trial = waiting.pop(0)
                    self._granted[trial.id] = asyncio.Event()
                    self.turns.want(trial.id, "waiting")
                    tasks.add(asyncio.create_task(self._trial(trial)))
                for name in self.turns.grant():
                    self._granted[name].set()
                self._changed.clear()
                change = asyncio.create_task(self._changed.wait())
                done, _ = await asyncio.wait({*tasks, change}, return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
                for task in done - {change}:
                    tasks.discard(task)
                    task.result()
        except asyncio.CancelledError:
            self.tally.interrupted = True
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.workers.close()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    async def _trial(self, trial: Trial) -> None:
        await self._granted[trial.id].wait()
        began, started_at = time.monotonic(), _now()
        self.progress.began(trial)
        overlay = self.overlays[trial.overlay]
        unsupported = why_unsupported(trial, overlay)
        if unsupported is not None:
            done = Done(outcome="unsupported", error=unsupported)
        else:
            done = await self._in_worker(trial, overlay)
        self.turns.leave(trial.id)
        context = Context(self.run_id, overlay, self.versions.get(trial.overlay), started_at)
        records = self._with_baseline(trial, records_of(trial, done, time.monotonic() - began, context))
        self.folder.append(records)
        complaints = unmet(trial, records)
        self.tally.outcomes[done.outcome] = self.tally.outcomes.get(done.outcome, 0) + 1
        self.tally.complaints += complaints
        self.tally.instruments[done.link_backend] = done.sysctls
        if done.outcome == "error":
            self.tally.errors.append(f"{trial.id}: {done.error}")
        self.progress.ended(trial, records, complaints)
        self._changed.set()

    def _with_baseline(self, trial: Trial, records: list[Record]) -> list[Record]:
        probe = trial.probes.throughput
        if probe is None or probe.baseline != "cell":
            return records
        if trial.mode == "underlay":
            self.baselines[trial.seed] = throughputs(records)
            return records
        return against_cell(records, self.baselines.get(trial.seed, {}))

    async def _in_worker(self, trial: Trial, overlay: Overlay) -> Done:
        folder = self.folder.path / "trials" / trial.id
        if folder.exists():  # a trial that a killed run left half done
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        try:
            job = Job(trial=trial, deployment=overlay.render(trial))
        except OverlaybenchError as error:
            return Done(outcome=error.outcome, error=str(error))  # type: ignore[arg-type]
        except ValueError as error:
            return Done(outcome="error", error=f"{trial.overlay} cannot render this trial: {error}")
        (folder / "job.json").write_text(job.model_dump_json(indent=1))
        worker = await self.workers.start(trial.id, folder)
        try:
            return await self._converse(trial, worker)
        except TimeoutError:
            return Done(outcome="error", error=f"the worker fell silent; see trials/{trial.id}/worker.log")
        finally:
            await worker.end()

    async def _converse(self, trial: Trial, worker: Worker) -> Done:
        granted = self._granted[trial.id]
        patience = PATIENCE_S + _own_time_s(trial)
        while True:
            line = await asyncio.wait_for(worker.line(), patience)
            if not line:
                status = await worker.ended
                log = self.folder.path / "trials" / trial.id / "worker.log"
                tail = log.read_text(errors="replace").strip()[-1000:]
                return Done(
                    outcome="error", error=f"the worker ended with status {status}: {tail or '(it said nothing)'}"
                )
            message = _MESSAGE.validate_json(line)
            if isinstance(message, Done):
                return message
            if isinstance(message, Step):
                self.progress.step(trial, message.text)
                continue
            granted.clear()
            self.turns.want(trial.id, message.turn)
            self._changed.set()
            await granted.wait()
            worker.grant()


def _own_time_s(trial: Trial) -> float:
    """How long the trial's probes may rightly be silent."""
    pairs = len(trial.topology.members) * (len(trial.topology.members) - 1) // 2
    return ATTEMPTS * 2 * pairs * trial.probes.own_time_s()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
