"""Hosts behind a Dask scheduler: one worker a machine, each with a station.

Text goes out and bytes come back: functions of this module are named, not sent, so both ends must have this program.
Repeating is the pool's, counted; a task is bound to one worker and never retried by the scheduler.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from distributed import Future, get_worker

from harness.errors import MissingPrerequisite, OverlaybenchError
from harness.hosts import relay
from harness.hosts.contract import OnStep
from harness.hosts.dask_link import Link, answered, why_lost
from harness.hosts.station_client import HostLost
from harness.hosts.station_messages import Question, Refused
from harness.trial.messages import Done

_FINDING_S: Final = 30.0
_LOOK_S: Final = 1.0
_KEEPING_S: Final = relay.IDLE_S / 4
_CLOSING_S: Final = 15.0

# On the worker, in its event loop.


async def open_station(label: str, options: str) -> bytes:
    """Start the station of a run on this worker anew."""
    return await relay.open_station(label, options)


async def close_station(label: str) -> bytes:
    """End the station of a run on this worker, if there is one."""
    return await relay.close_station(label)


async def keep_station(label: str) -> bytes:
    """Have the station of a run wait, though it has nothing to do."""
    return await relay.keep_station(label)


async def ask_station(label: str, question: str, key: str) -> bytes:
    """Pass a question on as the task `key`, and its answer back."""
    return await relay.ask_station(label, question, _wanted(key))


async def run_trial(label: str, trial: str, key: str) -> bytes:
    """Run a trial of the plan as the task `key`."""
    worker = get_worker()

    def on_step(text: str) -> None:
        worker.log_event(f"steps-{label}", {"key": key, "text": text})

    return await relay.run_trial(label, trial, on_step, _wanted(key))


def _wanted(key: str) -> Callable[[], bool]:
    """Return what tells whether a task of this worker is wanted: Dask does not end one that is cancelled."""
    worker = get_worker()

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state == "executing"

    return wanted


# In the campaign.


class DaskMember:
    """A worker, by its name; one that was started again under the same name is the same host."""

    def __init__(self, link: Link, name: str, slots: int) -> None:
        self.name, self.slots, self._link = name, slots, link
        self._address: str | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Find the worker, and have it start its station, which stays until `close` even where it has nothing to do."""
        await self._keep_no_more()
        self._address = None
        options = {"name": self.name, "jobs": self.slots, "silence_s": self._link.silence_s}
        workers = await asyncio.to_thread(self._link.workers)
        found = [address for address, worker in workers.items() if name_of(address, worker) == self.name]
        if not found:
            raise HostLost(f"host {self.name}: it has no worker at {self._link.address}")
        self._address = found[-1]
        _answer(await self._submit(open_station, self._link.label, json.dumps(options)), self.name)
        self._keeping = asyncio.create_task(self._keep())

    async def ask(self, question: Question) -> dict[str, Any]:
        """Pass it on."""
        key = f"ask-{uuid.uuid4().hex}"
        said = await self._submit(ask_station, self._link.label, question.model_dump_json(), key, key=key)
        return dict(_answer(said, self.name)["answer"])

    async def run(self, trial: str, on_step: OnStep) -> tuple[Done, bytes]:
        """Pass it on."""
        key, loop = f"{trial}-{uuid.uuid4().hex[:8]}", asyncio.get_running_loop()

        def heard(text: str) -> None:
            loop.call_soon_threadsafe(on_step, text)

        self._link.listen(key, heard)
        try:
            said = await self._submit(run_trial, self._link.label, trial, key, key=key)
        finally:
            self._link.listen(key, None)
        head, _, evidence = said.partition(b"\n")
        if b'"do":"refused"' in head:
            _answer(head, self.name)
        return Done.model_validate_json(head), evidence

    async def close(self) -> None:
        """End the station, if the worker still lives; one that is frozen ends it itself when it goes on."""
        await self._keep_no_more()
        if self._address is not None:
            with contextlib.suppress(OverlaybenchError, TimeoutError):
                await asyncio.wait_for(self._submit(close_station, self._link.label), _CLOSING_S)
        self._address = None

    async def _keep(self) -> None:
        """Tell the worker at intervals that the station is still needed; the next trial shows if it is still alive."""
        while True:
            await asyncio.sleep(_KEEPING_S)
            with contextlib.suppress(OverlaybenchError):
                await self._submit(keep_station, self._link.label)

    async def _keep_no_more(self) -> None:
        task, self._keeping = self._keeping, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _submit(self, function: Callable[..., Any], *words: str, key: str | None = None) -> bytes:
        """Have the worker call a function of this module; return its bytes."""
        address, loop = self._address, asyncio.get_running_loop()
        if address is None:
            raise HostLost(f"host {self.name}: it is closed")
        client = await asyncio.to_thread(self._link.client)
        options: dict[str, Any] = {"workers": [address], "allow_other_workers": False, "pure": False, "retries": 0}
        future: Future = client.submit(answered, function, *words, key=key or f"ask-{uuid.uuid4().hex}", **options)
        ended = asyncio.Event()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(ended.set))
        try:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), _LOOK_S)
                if not ended.is_set():
                    await asyncio.to_thread(self._link.require_alive, address, self.name)
            if future.status != "finished":
                raise why_lost(future, f"host {self.name}")
            try:
                return bytes(await asyncio.to_thread(future.result, self._link.silence_s))
            except Exception as error:  # the worker died with the result
                raise HostLost(f"host {self.name}: its answer was lost: {error}") from None
        finally:
            with contextlib.suppress(Exception):
                future.cancel(force=True)
                future.release()


def members_at(
    link: Link, slots: Mapping[str, int] | None = None, count: int = 1, patience_s: float = _FINDING_S
) -> list[DaskMember]:
    """Return the hosts of a scheduler, one for each worker, with the slots given by name or as many as it has threads.

    Args:
        count: how many workers to wait for, for at most `patience_s` seconds.

    Raises:
        MissingPrerequisite: the scheduler does not answer, can be reached by others without TLS, has no worker, or has
            two workers of one name.
    """
    try:
        client = link.client()
        # The method of this name has no bound on a single answer: a scheduler that freezes now was waited for for ever.
        bounds = {"timeout": patience_s, "callback_timeout": patience_s + link.silence_s}
        client.sync(client._wait_for_workers, count, **bounds)
        workers = link.workers() or {}
    except (OverlaybenchError, OSError, TimeoutError) as error:
        if link.exposed:
            there = f"{', '.join(link.exposed)} takes whatever anybody sends"
            remedy = "`--host 127.0.0.1` for scheduler and workers, or TLS: `overlaybench hosts init`"
            raise MissingPrerequisite(
                f"a scheduler and workers that only this machine can reach ({there})", remedy
            ) from None
        remedy = "start it, and `dask worker` on each host (docs/many-machines.md)"
        raise MissingPrerequisite(f"a Dask scheduler with a worker at {link.address} ({error})", remedy) from None
    names = [name_of(address, worker) for address, worker in workers.items()]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise MissingPrerequisite(f"one worker a machine: {', '.join(twice)} has several", "dask worker --nworkers 1")
    return [
        DaskMember(link, name, (slots or {}).get(name) or int(worker.get("nthreads") or 1))
        for name, worker in sorted(zip(names, workers.values(), strict=True), key=lambda pair: pair[0])
    ]


def name_of(address: str, worker: Mapping[str, Any]) -> str:
    """Return the name of a worker's host: the worker's own (`--name`) if it has one, else its address without port."""
    name = str(worker.get("name", address))
    return str(worker.get("host") or name) if "://" in name else name


def _answer(said: bytes, name: str) -> dict[str, Any]:
    """Return an answer, or raise what came instead."""
    found = json.loads(said)
    if found.get("do") != "refused":
        return dict(found)
    refused = Refused.model_validate(found)
    if refused.error == "HostLost":
        raise HostLost(refused.text if refused.text.startswith("host ") else f"host {name}: {refused.text}")
    raise refused.raised()
