"""The campaign's side of a station: it starts one through some command and speaks with it over its stdin and stdout."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.errors import OverlaybenchError
from harness.hosts.contract import OnStep
from harness.hosts.patience import DEFAULT_S
from harness.hosts.station_messages import (
    BEAT_S,
    LONGEST_LINE,
    REPLY,
    Alive,
    Answer,
    End,
    Ended,
    Question,
    Refused,
    Reply,
    Run,
    StepOf,
    line_of,
)
from harness.trial.messages import Done

# How long a station whose client goes may take for its sandboxes before it is killed, in s.
_GRACE_S = 10.0


class HostLost(OverlaybenchError):
    """A host is gone, or silent for too long: what it ran is to be run again."""

    exit_code = 3


class StationClient:
    """One conversation with a station, bound to the event loop in which it was started."""

    def __init__(self, process: asyncio.subprocess.Process, name: str, silence_s: float) -> None:
        self._process, self._name, self._silence_s = process, name, silence_s
        # Until its first word: on a busy machine its program alone takes seconds to start, which are no silence.
        self._patience_s = max(silence_s, DEFAULT_S)
        self._said_last = b""
        self._heard = time.monotonic()
        self._asking = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._number = 0
        self._answer: asyncio.Future[Answer | Refused] = asyncio.get_running_loop().create_future()
        self._trials: dict[str, tuple[OnStep, asyncio.Future[tuple[Done, bytes]]]] = {}
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._tasks = [asyncio.create_task(work) for work in (self._read(), self._complain(), self._watch())]

    @classmethod
    async def start(cls, argv: Sequence[str], name: str, silence_s: float) -> StationClient:
        """Start a station by a command.

        Raises:
            HostLost: the command cannot be run.
        """
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=pipe, stdout=pipe, stderr=pipe, limit=LONGEST_LINE, start_new_session=True
            )
        except OSError as error:
            raise HostLost(f"host {name}: {argv[0]}: {error.strerror}") from None
        return cls(process, name, silence_s)

    @property
    def lost(self) -> bool:
        """Tell whether it is of no use any more."""
        return self._lost.done()

    async def ask(self, question: Question) -> dict[str, Any]:
        """Return the answer. Who is cancelled meanwhile leaves nothing that the next one would take for its own.

        Raises:
            HostLost: there will be none.
            OverlaybenchError: what the station answered instead.
        """
        async with self._asking:
            self._number += 1
            self._answer = asyncio.get_running_loop().create_future()
            await self._send(question.model_copy(update={"number": self._number}))
            answer: Answer | Refused = await self._unless_lost(self._answer)
        if isinstance(answer, Refused):
            raise answer.raised()
        return answer.value

    async def run(self, trial: str, on_step: OnStep) -> tuple[Done, bytes]:
        """Run a trial of the plan; return its end and its evidence. Cancelling ends it there as well.

        Raises:
            HostLost: it will not end there.
            OverlaybenchError: the station did not run it.
        """
        ended: asyncio.Future[tuple[Done, bytes]] = asyncio.get_running_loop().create_future()
        self._trials[trial] = (on_step, ended)
        try:
            await self._send(Run(trial=trial))
            found: tuple[Done, bytes] = await self._unless_lost(ended)
            return found
        except asyncio.CancelledError:
            with contextlib.suppress(HostLost):
                await self._send(End(trial=trial))
            raise
        finally:
            self._trials.pop(trial, None)

    async def close(self) -> None:
        """Let the station end, and wait for it; one that takes too long is killed, and its sandboxes end with it."""
        self._give_up("it was closed")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._process.stdin is not None:
            self._process.stdin.close()
        draining = [asyncio.create_task(_drain(pipe)) for pipe in (self._process.stdout, self._process.stderr) if pipe]
        try:
            await asyncio.wait_for(self._process.wait(), _GRACE_S)
        except TimeoutError:
            self._kill()
            await self._process.wait()
        except asyncio.CancelledError:
            self._kill()
            raise
        finally:
            # Pipes that are still open when the loop ends complain of it.
            await asyncio.wait(draining, timeout=_GRACE_S)
            for task in draining:
                task.cancel()
            await asyncio.gather(*draining, return_exceptions=True)
            if self._process.stdin is not None:
                with contextlib.suppress(ConnectionError):
                    await self._process.stdin.wait_closed()
            getattr(self._process, "_transport").close()  # noqa: B009  # asyncio has no other way to say so

    def _kill(self) -> None:
        # The session that was started for it alone: the command that leads there, and the station where it is here.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _send(self, message: BaseModel) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        async with self._writing:
            try:
                stdin.write(line_of(message))
                await self._unless_lost(stdin.drain())
            except (ConnectionError, RuntimeError):
                raise HostLost(self._why("it does not listen")) from None

    async def _unless_lost(self, awaited: Any) -> Any:
        """Return what is awaited; HostLost is raised as soon as the station is lost instead."""
        task = asyncio.ensure_future(awaited)
        try:
            await asyncio.wait({task, self._lost}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise HostLost(self._lost.result())
        finally:
            if not task.done():
                task.cancel()

    async def _read(self) -> None:
        reader = self._process.stdout
        assert reader is not None
        why = "it ended"
        try:
            while line := await reader.readline():
                self._heard, self._patience_s = time.monotonic(), self._silence_s
                await self._take(REPLY.validate_json(line), reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except (ValidationError, ValueError):
            why = "what came is no message of a station"
        self._give_up(why)
        self._kill()

    async def _take(self, reply: Reply, reader: asyncio.StreamReader) -> None:
        if isinstance(reply, Alive):
            return
        if isinstance(reply, Answer) or (isinstance(reply, Refused) and reply.trial is None):
            if reply.number in (None, self._number) and not self._answer.done():
                self._answer.set_result(reply)
            return
        assert reply.trial is not None
        on_step, ended = self._trials.get(reply.trial, (None, None))
        if isinstance(reply, StepOf):
            if on_step is not None:
                on_step(reply.text)
        elif isinstance(reply, Ended):
            evidence = await self._evidence(reply.evidence_bytes, reader)
            if ended is not None and not ended.done():
                ended.set_result((reply.done, evidence))
        elif ended is not None and not ended.done():
            ended.set_exception(reply.raised())

    async def _evidence(self, size: int, reader: asyncio.StreamReader) -> bytes:
        """Read so many bytes; each piece is a sign of life, however slow the way is."""
        pieces, left = [], size
        while left:
            piece = await reader.read(min(left, 1 << 20))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            pieces.append(piece)
            left -= len(piece)
            self._heard = time.monotonic()
        return b"".join(pieces)

    async def _complain(self) -> None:
        """Keep the end of what it says on stderr."""
        reader = self._process.stderr
        assert reader is not None
        while piece := await reader.read(4096):
            self._said_last = (self._said_last + piece)[-2000:]

    async def _watch(self) -> None:
        """Say that the campaign lives, and give the station up when it says nothing for too long."""
        while time.monotonic() - self._heard < self._patience_s:
            await asyncio.sleep(min(BEAT_S, self._silence_s / 4))
            with contextlib.suppress(HostLost, TimeoutError):
                await asyncio.wait_for(self._send(Alive()), self._silence_s)
        self._give_up(f"it said nothing for {self._patience_s:g} s")
        self._kill()

    def _give_up(self, why: str) -> None:
        if not self._lost.done():
            self._lost.set_result(self._why(why))

    def _why(self, why: str) -> str:
        said = self._said_last.decode(errors="replace").strip().splitlines()
        return f"host {self._name}: {why}{f' ({said[-1].strip()[:300]})' if said else ''}"


async def _drain(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 16):
        pass
