"""This machine as a host: turns decide who runs when, a fork server makes the workers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter

from harness.errors import storage_errors
from harness.hosts.contract import Host, HostFacts, OnStep
from harness.hosts.turns import Turns
from harness.hosts.workers import Worker, Workers
from harness.link.choose import automatic
from harness.machine.describe import describe_machine, harness_commit, overlay_version, tool_versions
from harness.overlay.contract import Overlay
from harness.sandbox.unshare import is_privileged
from harness.trial.messages import Done, Job, Step, WantTurn, longest_silence_s

# A worker that neither asks for a turn nor ends within its probes' own time plus this is taken for dead.
PATIENCE_S = 120.0
_MESSAGE: TypeAdapter[WantTurn | Step | Done] = TypeAdapter(WantTurn | Step | Done)


class LocalHost:
    """This machine: jobs that only wait run side by side, those that load it run alone.

    Its processes carry `label` on their command lines. `overlays` are those whose versions it is to report.
    """

    def __init__(self, *, label: str, jobs: int, overlays: Mapping[str, Overlay]) -> None:
        self._overlays = overlays
        self._jobs = jobs
        self._turns = Turns(jobs)
        self._workers = Workers(label)
        self._arrived: deque[str] = deque()
        self._granted: dict[str, asyncio.Event] = {}

    @property
    def slots(self) -> int:
        """As many as may be live."""
        return self._jobs

    def describe(self) -> HostFacts:
        """Ask the machine and every program for their facts and versions."""
        return HostFacts(
            commit=harness_commit(),
            privileged=is_privileged(),
            machine=describe_machine(),
            tool_versions=tool_versions(),
            overlay_versions={name: overlay_version(overlay) for name, overlay in self._overlays.items()},
            link_backend=automatic(),
        )

    async def run(self, job: Job, folder: Path, on_step: OnStep) -> Done:
        """Run a job in a sandbox of its own once it is admitted."""
        name = job.trial.id
        self._granted[name] = asyncio.Event()
        self._arrived.append(name)
        try:
            self._advance()
            await self._granted[name].wait()
            on_step("starting")
            with storage_errors(folder):
                (folder / "job.json").write_text(job.model_dump_json(indent=1))
                worker = await self._workers.start(name, folder)
            try:
                return await self._converse(job, folder, worker, on_step)
            except TimeoutError:
                return Done(outcome="error", error=f"the worker fell silent; see {folder.name}/worker.log")
            finally:
                await worker.end()
        finally:
            if name in self._arrived:
                self._arrived.remove(name)
            self._turns.leave(name)
            del self._granted[name]
            self._advance()

    async def close(self) -> None:
        """End the fork server and with it all workers."""
        await self._workers.close()

    def _advance(self) -> None:
        """Admit the jobs that may start, and give out the turns that are free now."""
        while self._arrived and self._turns.may_admit:
            self._turns.want(self._arrived.popleft(), "waiting")
        for name in self._turns.grant():
            self._granted[name].set()

    async def _converse(self, job: Job, folder: Path, worker: Worker, on_step: OnStep) -> Done:
        name, granted = job.trial.id, self._granted[job.trial.id]
        patience_s = PATIENCE_S + longest_silence_s(job.trial)
        while True:
            line = await asyncio.wait_for(worker.line(), patience_s)
            if not line:
                status = await worker.ended
                tail = (folder / "worker.log").read_text(errors="replace").strip()[-1000:]
                said = tail or "(it said nothing)"
                return Done(outcome="error", error=f"the worker ended with status {status}: {said}")
            message = _MESSAGE.validate_json(line)
            if isinstance(message, Done):
                return message
            if isinstance(message, Step):
                on_step(message.text)
                continue
            granted.clear()
            self._turns.want(name, message.turn)
            self._advance()
            await granted.wait()
            worker.grant()


class LocalKind:
    """The machine on which the program runs."""

    name = "local"
    order = 10
    addresses = "none, or `local`"

    def takes(self, address: str | None) -> bool:
        """Tell whether it is this machine that is meant."""
        return address in (None, "local")

    def open(self, address: str | None, *, label: str, jobs: int, overlays: Mapping[str, Overlay]) -> Host:
        """Make a host of this machine."""
        del address
        return LocalHost(label=label, jobs=jobs, overlays=overlays)
