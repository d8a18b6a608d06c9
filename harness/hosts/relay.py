"""The stations that a process keeps for others, by run: what a Dask worker does for a campaign. Knows nothing of Dask.

Text comes in, bytes go out: what went wrong is a `Refused` as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from harness.errors import LabError, OverlaybenchError
from harness.hosts.contract import OnStep
from harness.hosts.station_client import HostLost, StationClient
from harness.hosts.station_member import MODULE
from harness.hosts.station_messages import REQUEST, Refused, line_of

# In s: a station ends after this time without a question, a running trial or a call of `keep_station`.
IDLE_S: Final = 60.0
_LOOK_S: Final = 1.0
_Result = TypeVar("_Result")
STATION: Final = [sys.executable, "-m", MODULE]


@dataclass(eq=False)
class _Kept:
    """A station, the number of calls that use it now, and the timer that ends it when no call has used it for long."""

    client: StationClient
    users: int = 0
    timer: asyncio.TimerHandle | None = None


_stations: dict[str, _Kept] = {}


async def open_station(label: str, options: str) -> bytes:
    """Start the station of a run anew; `options` are `name`, `jobs` and `silence_s`, in JSON."""
    await close_station(label)
    said = json.loads(options)
    words = ("--jobs", str(int(said["jobs"])), f"--label={label}", "--silence-s", f"{float(said['silence_s']):g}")
    try:
        client = await StationClient.start((*STATION, *words), str(said["name"]), float(said["silence_s"]))
    except HostLost as lost:
        return line_of(Refused.of(lost))
    kept = _stations[label] = _Kept(client)
    _end_when_idle(label, kept)
    return b"{}"


async def close_station(label: str) -> bytes:
    """End the station of a run, if there is one."""
    kept = _stations.pop(label, None)
    if kept is not None:
        if kept.timer is not None:
            kept.timer.cancel()
        await kept.client.close()
    return b"{}"


async def keep_station(label: str) -> bytes:
    """Note that the station of a run is wanted still, though it has nothing to do."""
    try:
        async with _using(label):
            return b"{}"
    except HostLost as lost:
        return line_of(Refused.of(lost))


async def ask_station(label: str, question: str, wanted: Callable[[], bool]) -> bytes:
    """Pass a question on as long as its answer is wanted; return the answer."""
    try:
        async with _using(label) as client:
            asked: Any = REQUEST.validate_json(question)
            return json.dumps({"answer": await _while_wanted(client.ask(asked), wanted)}).encode()
    except (OverlaybenchError, ValueError) as error:
        return line_of(_refused(error))


async def run_trial(label: str, trial: str, on_step: OnStep, wanted: Callable[[], bool]) -> bytes:
    """Run a trial of the plan as long as it is wanted; return its end in a line, and its evidence."""
    try:
        async with _using(label) as client:
            done, evidence = await _while_wanted(client.run(trial, on_step), wanted)
            return done.model_dump_json().encode() + b"\n" + evidence
    except OverlaybenchError as error:
        return line_of(_refused(error))


async def _while_wanted(work: Coroutine[Any, Any, _Result], wanted: Callable[[], bool]) -> _Result:
    """Return what the work comes to; end it as soon as nobody wants it, which is looked for every _LOOK_S."""
    running = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({running}, timeout=_LOOK_S))[0]:
            if not wanted():
                raise HostLost("nobody wants it any more")
        return running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@contextlib.asynccontextmanager
async def _using(label: str) -> AsyncIterator[StationClient]:
    """Give the station of a run, and keep it from ending meanwhile.

    Raises:
        HostLost: it has been closed.
    """
    kept = _stations.get(label)
    if kept is None:
        raise HostLost("its station is closed")
    if kept.timer is not None:
        kept.timer.cancel()
    kept.users += 1
    try:
        yield kept.client
    finally:
        kept.users -= 1
        if not kept.users:
            _end_when_idle(label, kept)


def _end_when_idle(label: str, kept: _Kept) -> None:
    """End a station in IDLE_S unless it is used before."""
    if _stations.get(label) is not kept:
        return  # it is closed, and there may be another by now
    loop = asyncio.get_running_loop()
    kept.timer = loop.call_later(IDLE_S, lambda: loop.create_task(close_station(label)))


def _refused(error: Exception) -> Refused:
    return Refused.of(error if isinstance(error, OverlaybenchError) else LabError(str(error)))
