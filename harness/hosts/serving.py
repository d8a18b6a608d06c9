"""One client's conversation with a station: its questions are answered, its trials run, and all ends with it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import shutil
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import LabError, OverlaybenchError, StorageError
from harness.hosts import calibrate, installing
from harness.hosts.evidence import pack
from harness.hosts.local import LocalHost
from harness.hosts.rendering import job_of
from harness.hosts.station_messages import (
    BEAT_S,
    REQUEST,
    STANDING,
    Alive,
    Answer,
    Calibrate,
    End,
    Ended,
    Facts,
    Install,
    Lacking,
    Measured,
    Plan,
    Question,
    Refused,
    Require,
    Run,
    StepOf,
    line_of,
)
from harness.machine.describe import standing
from harness.model.trial import Trial
from harness.overlay.contract import Overlay
from harness.overlay.registry import load_overlay, overlay_names
from harness.topology.trace_files import with_trace_paths
from harness.trial.messages import Done, Job


class Station:
    """One client's conversation with this machine."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        label: str,
        jobs: int,
        silence_s: float,
        scratch: Path,
    ) -> None:
        self._reader, self._writer, self._scratch, self._silence_s = reader, writer, scratch, silence_s
        self._label, self._jobs = label, jobs
        self._host = LocalHost(label=label, jobs=jobs, overlays={})
        self._plan: dict[str, Trial] = {}
        self._complete = False
        self._running: dict[str, asyncio.Task[None]] = {}
        self._asked: asyncio.Queue[Question] = asyncio.Queue()
        self._heard = time.monotonic()
        self._writing = asyncio.Lock()
        self._awake = contextlib.ExitStack()
        self._measured: dict[str, Any] | None = None

    async def serve(self) -> None:
        """Serve until the client goes, or says nothing for too long."""
        work = (self._obey_all(), self._until_silent(), self._beat(), self._answer_all())
        tasks = [asyncio.create_task(one) for one in work]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()  # a fault of the program in any of them ends the station: it would only pretend to serve
        finally:
            ending = [*tasks, *self._running.values()]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            await self._host.close()
            self._awake.close()

    async def _obey_all(self) -> None:
        """Obey until the client goes, in the middle of a line or by one that never ends as well."""
        with contextlib.suppress(ConnectionError, ValueError):
            while line := await self._reader.readline():
                self._heard = time.monotonic()
                await self._obey(line)

    async def _until_silent(self) -> None:
        """Wait until the client has been silent for too long. Nothing is sent: a client that is gone takes nothing."""
        while (left_s := self._heard + self._silence_s - time.monotonic()) > 0:
            await asyncio.sleep(left_s)

    async def _beat(self) -> None:
        """Say that this station lives."""
        while True:
            await self._send(Alive())
            await asyncio.sleep(BEAT_S)

    async def _send(self, message: Any, evidence: bytes = b"") -> None:
        async with self._writing:
            with contextlib.suppress(ConnectionError):
                self._writer.write(line_of(message) + evidence)
                await self._writer.drain()

    async def _obey(self, line: bytes) -> None:
        try:
            request = REQUEST.validate_json(line)
        except ValidationError as error:
            await self._send(Refused(error="LabError", text=f"not understood: {error.errors()[0]['msg']}"))
            return
        if isinstance(request, Alive):
            return
        if isinstance(request, End):
            if request.trial in self._running:
                self._running[request.trial].cancel()
            return
        if isinstance(request, Run):
            await self._begin(request.trial)
            return
        self._asked.put_nowait(request)

    async def _answer_all(self) -> None:
        """Answer questions one after the other: some take so long that signs of life must be heard meanwhile."""
        while True:
            question = await self._asked.get()
            try:
                answer = await self._answer(question)
            except Exception as error:  # whatever it is: the next question may be answered
                await self._send(Refused.of(_told(error, self._scratch), number=question.number))
            else:
                await self._send(Answer(number=question.number, value=answer))

    async def _answer(self, question: Question) -> dict[str, Any]:
        if isinstance(question, Plan):
            self._take(question)
            return {}
        if isinstance(question, Facts):
            asked = LocalHost(label=self._label, jobs=self._jobs, overlays=_overlays(question.overlays))
            facts = await asyncio.to_thread(asked.describe)
            return {**facts.model_dump(mode="json"), STANDING: standing()}
        if isinstance(question, Lacking):
            look = installing.out_of_reach if question.out_of_reach else self._host.lacking
            return dict(await asyncio.to_thread(look, _overlays(question.overlays)))
        if isinstance(question, Measured):
            self._awake.close()
            return dict(self._measured or {})
        trials = list(self._plan.values())
        if isinstance(question, Calibrate | Install):
            return await _at_length(question, trials)
        assert isinstance(question, Require)
        self._complete = True
        await asyncio.to_thread(self._host.require, trials, _overlays({trial.overlay for trial in trials}))
        return {}

    def _take(self, piece: Plan) -> None:
        """Add a piece of the plan: traces are called by their SHA-256, and lie in this station's folder."""
        if self._complete:
            raise LabError("the plan is complete; another one needs another station")
        traces = self._scratch / "traces"
        for name, content in piece.traces.items():
            data = base64.b64decode(content)
            if hashlib.sha256(data).hexdigest() != name:
                raise LabError(f"a trace is not what its name says: {name[:80]}")
            traces.mkdir(exist_ok=True)
            (traces / name).write_bytes(data)

        def here(name: str) -> str:
            path = traces / name
            if Path(name).name != name or not path.is_file():
                raise LabError(f"the plan came without its trace {name[:80]}")
            return str(path)

        for trial in with_trace_paths(piece.trials, here):
            if Path(trial.id).name != trial.id or trial.id in ("", ".", ".."):
                raise LabError(f"{trial.id!r} is no name of a trial")
            if trial.overlay not in overlay_names():
                raise LabError(f"there is no overlay {trial.overlay} on this host")
            self._plan[trial.id] = trial

    async def _begin(self, name: str) -> None:
        if name not in self._plan or not self._complete:
            error = LabError(f"{name!r} is no trial of the plan that this host was given")
            await self._send(Refused.of(error, trial=name))
        elif name in self._running:
            await self._send(Refused.of(LabError(f"{name} runs already"), trial=name))
        else:
            if self._measured is None:
                self._measured = self._awake.enter_context(self._host.measuring())
            task = self._running[name] = asyncio.create_task(self._run(self._plan[name]))
            task.add_done_callback(lambda _: self._running.pop(name, None))

    async def _run(self, trial: Trial) -> None:
        folder, steps = self._scratch / trial.id, asyncio.Queue[str]()
        telling = asyncio.create_task(self._tell(trial.id, steps))
        try:
            done, evidence = await self._done(trial, folder, steps)
            while not steps.empty():
                await self._send(StepOf(trial=trial.id, text=steps.get_nowait()))
            await self._send(Ended(trial=trial.id, done=done, evidence_bytes=len(evidence)), evidence)
        except Exception as error:  # whatever it is: the client waits for the trial's end
            await self._send(Refused.of(_told(error, folder), trial=trial.id))
        finally:
            telling.cancel()
            await asyncio.to_thread(_remove, folder)

    async def _tell(self, trial: str, steps: asyncio.Queue[str]) -> None:
        while True:
            await self._send(StepOf(trial=trial, text=await steps.get()))

    async def _done(self, trial: Trial, folder: Path, steps: asyncio.Queue[str]) -> tuple[Done, bytes]:
        job = job_of(trial, load_overlay(trial.overlay))
        if not isinstance(job, Job):
            return job, b""
        _remove(folder)
        folder.mkdir()
        done = await self._host.run(job, folder, steps.put_nowait)
        return done, await asyncio.to_thread(pack, folder)


def _told(error: Exception, folder: Path) -> OverlaybenchError:
    """Return an error as the client is to hear it; one of the operating system is about `folder` if about no file."""
    if isinstance(error, OverlaybenchError):
        return error
    if isinstance(error, OSError) and StorageError.is_one(error):
        return StorageError.of(error, folder)
    return LabError(f"a fault of the program:\n{''.join(traceback.format_exception(error))}")


async def _at_length(question: Calibrate | Install, trials: Sequence[Trial]) -> dict[str, Any]:
    """Answer in a thread, which is told to end when nobody waits for it any more."""
    ended = threading.Event()
    try:
        if isinstance(question, Install):
            return await asyncio.to_thread(installing.install, list(_overlays(question.overlays)), ended)
        return await asyncio.to_thread(calibrate.calibrate, trials, os.cpu_count() or 1, ended)
    finally:
        ended.set()  # else the thread would keep this process until it is done, whoever has gone


def _overlays(names: Any) -> dict[str, Overlay]:
    known = set(overlay_names())
    if unknown := sorted(set(names) - known):
        raise LabError(f"there is no overlay {', '.join(unknown)} on this host")
    return {name: load_overlay(name) for name in names}


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
