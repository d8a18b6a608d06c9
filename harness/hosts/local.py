"""This machine as a host: turns decide who runs when, a fork server makes the workers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import platform
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from harness.errors import storage_errors
from harness.hosts.contract import BUSY_FILE, STARTING, Host, HostFacts, OnStep
from harness.hosts.turns import Turns
from harness.hosts.workers import Worker, Workers
from harness.link.choose import automatic
from harness.machine.describe import (
    code_digest,
    describe_machine,
    harness_commit,
    other_versions,
    overlay_version,
    tool_versions,
)
from harness.machine.processors import is_virtual, processors_awake, stolen_s
from harness.machine.quiet import Quietness, Wanted, allowance_of, read_wanted, wait_for_quiet
from harness.machine.requirements import require_for
from harness.machine.skipping import not_installed
from harness.model.trial import Trial
from harness.overlay.contract import Overlay
from harness.sandbox.unshare import is_privileged
from harness.trial.messages import Done, Job, Step, WantTurn, longest_silence_s

# A worker that neither asks for a turn nor ends within its probes' own time plus this is taken for dead.
PATIENCE_S = 120.0
_MESSAGE: TypeAdapter[WantTurn | Step | Done] = TypeAdapter(WantTurn | Step | Done)


class LocalHost:
    """This machine: jobs that only wait run side by side, those that load it run alone.

    Its processes carry `label` on their command lines. `overlays` are those whose versions it is to report. Before each
    load it waits a while for others to leave the processors, and keeps what it found (BUSY_FILE); `look` tells.
    """

    def __init__(
        self,
        *,
        label: str,
        jobs: int,
        overlays: Mapping[str, Overlay],
        look: Callable[[], Wanted] = read_wanted,
    ) -> None:
        self._label, self._look = label, look
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
        commit = harness_commit()
        return HostFacts(
            commit=commit,
            privileged=is_privileged(),
            machine=describe_machine(),
            tool_versions={**other_versions(self._overlays.values()), **tool_versions()},
            overlay_versions={name: overlay_version(overlay) for name, overlay in self._overlays.items()},
            link_backend=automatic(),
            name=platform.node(),
            code=code_digest(commit),
        )

    def lacking(self, overlays: Mapping[str, Overlay]) -> dict[str, str]:
        """Look for the overlays' programs."""
        return not_installed(overlays)

    def require(self, trials: Sequence[Trial], overlays: Mapping[str, Overlay]) -> None:
        """Check for programs, namespaces, what probes need and who carries the links."""
        require_for(trials, overlays)

    @contextlib.contextmanager
    def measuring(self) -> Iterator[dict[str, Any]]:
        """Keep the processors of a virtual machine awake, and count the time for which they were taken away."""
        found: dict[str, Any] = {}
        before_s = stolen_s()
        with processors_awake() as mechanism:
            yield found
        found |= {"virtual": is_virtual(), "kept_awake": mechanism, "stolen_s": round(stolen_s() - before_s, 2)}

    async def run(self, job: Job, folder: Path, on_step: OnStep) -> Done:
        """Run a job in a sandbox of its own once it is admitted."""
        name = job.trial.id
        self._granted[name] = asyncio.Event()
        self._arrived.append(name)
        try:
            self._advance()
            await self._granted[name].wait()
            on_step(STARTING)
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
        usual_s = PATIENCE_S + longest_silence_s(job.trial)
        patience_s: float | None = usual_s
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
                patience_s = None if message.waits else usual_s
                continue
            granted.clear()
            self._turns.want(name, message.turn)
            self._advance()
            await granted.wait()
            if message.turn == "exclusive":
                found = await wait_for_quiet(allowance_of(self._label), self._look, say=on_step)
                with storage_errors(folder):
                    _keep(found, folder / BUSY_FILE)
            worker.grant()


def _keep(found: Quietness, path: Path) -> None:
    """Add what was found before a load to what was before the trial's others."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    path.write_text(json.dumps([*before, asdict(found)], indent=1), encoding="utf-8")


class LocalKind:
    """The machine on which the program runs."""

    name = "local"
    order = 10
    addresses = "none, or `local`"

    def takes(self, address: str | None) -> bool:
        """Tell whether it is this machine that is meant."""
        return address in (None, "local")

    def slots_said(self, address: str | None) -> None:
        """By `jobs`."""

    def open(self, address: str | None, *, label: str, jobs: int, overlays: Mapping[str, Overlay]) -> Host:
        """Make a host of this machine."""
        del address
        return LocalHost(label=label, jobs=jobs, overlays=overlays)
