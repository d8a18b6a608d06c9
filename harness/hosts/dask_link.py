"""A connection to a Dask scheduler that takes text and bytes alone, and tells a fault of the program from a lost host.

Dask hands errors, warnings and types of workers on as pickles, which its client would open: here a worker's fault is
told as text, and what comes otherwise is not opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import dask.config
from distributed import Client, Future
from distributed.security import Security

from harness.errors import LabError, MissingPrerequisite, OverlaybenchError
from harness.hosts.dask_pickles import Unopened, keep_closed, open_again
from harness.hosts.scheduler import is_loopback
from harness.hosts.station_client import HostLost
from harness.hosts.station_messages import Refused, line_of

_LOOK_S: Final = 1.0
_DONE: Final = b"+"
_FAULT: Final = b"-"
_KILLED: Final = "its worker was lost"
_UNKNOWN: Final = "its worker cannot call what it was asked to"

# On the worker.


def told(function: Callable[[str], bytes], text: str) -> bytes:
    """Return what a function makes of a text, or the trace of what went wrong; the first byte says which."""
    try:
        return _DONE + function(text)
    except Exception:  # whatever it is: Dask would make a pickle of it
        return _FAULT + traceback.format_exc().encode()


async def answered(function: Callable[..., Awaitable[bytes]], *words: str) -> bytes:
    """Return what a function answers; a fault of the program is refused, as an answer."""
    try:
        return await function(*words)
    except Exception:  # whatever it is, as in `told`: the campaign tells it from a lost host
        return line_of(Refused.of(LabError(f"a fault of the program:\n{traceback.format_exc()}")))


# In the campaign.


class _Client(Client):  # type: ignore[misc]  # distributed is untyped
    """Opens no pickle of a worker's: neither its warnings nor its errors, nor what type a result is of.

    It waits for a scheduler no longer than its `timeout`.
    """

    async def _ensure_connected(self, timeout: Any = None) -> None:
        """Connect within the time, handshake included: Dask would wait for that of a frozen host for ever."""
        await asyncio.wait_for(super()._ensure_connected(timeout), self._timeout)

    def subscribe_topic(self, topic: Any, handler: Any) -> None:
        """Leave out what a client has read to it of itself: `warn` are pickles, and `print` is not this program's."""
        if topic not in ("warn", "print"):
            super().subscribe_topic(topic, handler)

    def _handle_key_in_memory(self, key: Any = None, type: Any = None, workers: Any = None) -> None:
        """Leave out the type."""
        del type
        super()._handle_key_in_memory(key=key, workers=workers)

    def _handle_task_erred(self, key: Any = None, exception: Any = None, traceback: Any = None) -> None:
        """Keep why a task erred as text. The scheduler's own error means a lost host."""
        del traceback
        lost = isinstance(exception, bytes | bytearray) and b"KilledWorker" in exception
        super()._handle_task_erred(key, _KILLED if lost else _UNKNOWN)


def why_lost(future: Future, who: str) -> OverlaybenchError:
    """Return why a task did not finish: HostLost, or MissingPrerequisite where the worker lacks what it was to call."""
    said = str(future.exception()) if future.status == "error" else _KILLED
    if said == _UNKNOWN:
        return MissingPrerequisite(f"this program on {who} ({said})", "the same commit on every host")
    return HostLost(f"{who}: {said}")


def _guarded(address: str) -> bool:
    """Tell whether only this machine, or holders of the key, can connect to an address; False also if it is none."""
    if address.startswith(("tls://", "inproc://")):
        return True
    try:
        return is_loopback(urlsplit(address).hostname or "")
    except ValueError:  # no address: the scheduler says what it likes
        return False


def _colon(error: Exception) -> str:
    """Return what an error says, if anything, as the end of a sentence."""
    return f": {error}" if str(error) else ""


class Link:
    """A connection to a scheduler, made again where it broke.

    `own` is for a scheduler that runs in this very process: it opens the pickles of its client, as Dask does. `exposed`
    are the addresses at which others reach it or its workers without TLS, as far as they say where they listen.
    """

    def __init__(
        self, address: str, tls: Mapping[str, str] | None, label: str, silence_s: float, *, own: bool = False
    ) -> None:
        self.address, self.label, self.silence_s = address, f"{label}-{uuid.uuid4().hex[:8]}", silence_s
        self._security = Security(**tls, require_encryption=True) if tls else None
        self._client: _Client | None = None
        self._closed_pickles, self._own = False, own
        self._alone = threading.RLock()  # members ask from threads of their own
        self._steps: dict[str, Callable[[str], None]] = {}
        self._seen: dict[str, tuple[float, float]] = {}
        self._looked = -_LOOK_S
        self._silent: str | None = None
        self._workers: dict[str, dict[str, Any]] = {}
        self.exposed: list[str] = []
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what is lost, the pool says

    def client(self) -> _Client:
        """Return the client, connected.

        Raises:
            HostLost: nothing answers there.
        """
        with self._alone:
            return self._connected()

    def _connected(self) -> _Client:
        if self._client is None or self._client.status != "running":
            self.close()
            if not self._own:
                keep_closed()
                self._closed_pickles = True
            with dask.config.set({"distributed.comm.timeouts.connect": min(self.silence_s, 10.0)}):
                try:
                    self._client = _Client(
                        self.address,
                        security=self._security,
                        timeout=min(self.silence_s, 10.0),
                        set_as_default=False,
                        direct_to_workers=False,
                        # Whatever is not bytes or text is an error, not a pickle.
                        deserializers=["dask", "msgpack"],
                    )
                except (OSError, TimeoutError, Unopened) as error:
                    raise HostLost(f"the scheduler {self.address} does not answer{_colon(error)}") from None
            self._client.subscribe_topic(f"steps-{self.label}", self._heard)
        return self._client

    def workers(self) -> dict[str, dict[str, Any]]:
        """Return what the scheduler says of its workers, by address; asked at most once a second.

        Raises:
            HostLost: it is gone, or says nothing: its host may be frozen, and then its connections stand as before. Or
                it is `exposed`.
        """
        with self._alone:
            if time.monotonic() - self._looked >= _LOOK_S:
                self._silent = self._look()
                self._looked = time.monotonic()  # who has waited for the same answer need not wait for another
            if self._silent is not None:
                raise HostLost(self._silent)
            return self._workers

    def _look(self) -> str | None:
        """Ask the scheduler for its workers; return why it is lost, if it is."""
        try:
            client = self._connected()
            asked = client.scheduler.identity
            info = client.sync(asked, n_workers=-1, callback_timeout=self.silence_s)
        except HostLost as lost:
            return str(lost)
        except TimeoutError:
            return f"the scheduler {self.address} is lost: it said nothing for {self.silence_s:g} s"
        except (OSError, Unopened) as error:
            return f"the scheduler {self.address} is lost{_colon(error)}"
        self._workers = {str(address): dict(one) for address, one in info["workers"].items()}
        nannies = [str(one["nanny"]) for one in self._workers.values() if one.get("nanny")]
        self.exposed = [one for one in (str(info["address"]), *self._workers, *nannies) if not _guarded(one)]
        if self.exposed:
            return f"the scheduler {self.address} or its workers listen without TLS at {', '.join(self.exposed)}"
        return None

    def map(self, function: Callable[[str], bytes], texts: Sequence[str]) -> Iterator[bytes]:
        """Yield what a function makes of each text, in order, wherever it runs: what is lost is computed again.

        Raises:
            HostLost: it was lost too often, or the scheduler was.
            MissingPrerequisite: the workers have another program.
            RuntimeError: the function failed there, which is the program's fault and no host's.
        """
        futures = self.client().map(partial(told, function), texts, pure=False)
        try:
            for future in futures:
                said = self._said(future)
                if said[:1] == _FAULT:
                    raise RuntimeError(f"a fault on one of the hosts of {self.address}:\n{said[1:].decode()}")
                yield said[1:]
        finally:
            with contextlib.suppress(Exception):
                self.client().cancel(futures, force=True)

    def _said(self, future: Future) -> bytes:
        try:
            return bytes(future.result())
        except Exception as error:  # Dask's or the system's: what the function raises comes as an answer
            if future.status == "error":
                raise why_lost(future, f"the hosts of {self.address}") from None
            raise HostLost(f"the hosts of {self.address} were lost: {error}") from None

    def require_alive(self, address: str, name: str) -> None:
        """Raise HostLost where the scheduler has lost a worker, or has not heard of it for too long."""
        worker = self.workers().get(address)
        if worker is None:
            raise HostLost(f"host {name}: its worker is gone")
        heard = float(worker.get("last_seen") or 0.0)
        before, since = self._seen.get(address, (None, 0.0))
        if before != heard:
            self._seen[address] = (heard, time.monotonic())
        elif time.monotonic() - since > self.silence_s:
            raise HostLost(f"host {name}: its worker said nothing for {self.silence_s:g} s")

    def listen(self, key: str, on_step: Callable[[str], None] | None) -> None:
        """Have a trial's steps told, or no more."""
        if on_step is None:
            self._steps.pop(key, None)
        else:
            self._steps[key] = on_step

    def close(self) -> None:
        """Let the scheduler go."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                client.close(timeout=2)
        if self._closed_pickles:
            self._closed_pickles = False
            open_again()

    def _heard(self, event: Any) -> None:
        said = event[1]
        if not isinstance(said, Mapping):
            return
        told = self._steps.get(str(said.get("key")))
        if told is not None:
            told(str(said.get("text")))
