"""A scheduler that is there and says nothing, as one on a frozen host; and questions that nobody waits for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.hosts import relay
from harness.hosts.station_client import HostLost
from harness.hosts.station_messages import Measured

distributed = pytest.importorskip("distributed", reason="pip install -e '.[dask]'")
settings = pytest.importorskip("dask.config", reason="pip install -e '.[dask]'")
dask = pytest.importorskip("harness.hosts.dask", reason="pip install -e '.[dask]'")

pytestmark = pytest.mark.timeout(120)


@contextlib.contextmanager
def plain_cluster(silence_s: float) -> Iterator[tuple[Any, Any]]:
    """Give a scheduler of this process with one worker, and a link to it."""
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "protocol": "tcp", "host": "127.0.0.1"}
    # What a cluster that was brought up by an earlier test of this process has set.
    plainly = settings.set({"distributed.comm.require-encryption": False})
    with plainly, distributed.LocalCluster(**options, dashboard_address="127.0.0.1:0") as cluster:
        link = dask.Link(cluster.scheduler_address, None, "x", silence_s, own=True)
        try:
            link.client().wait_for_workers(1, timeout=30)
            yield cluster, link
        finally:
            link.close()


def test_a_scheduler_that_accepts_and_never_answers_is_lost_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        link = dask.Link(f"tcp://127.0.0.1:{silent.getsockname()[1]}", None, "x", 0.5)
        began = time.monotonic()
        try:
            assert link._look() == f"the scheduler {link.address} does not answer"
        finally:
            link.close()
        assert time.monotonic() - began < 60


def test_a_scheduler_that_falls_silent_is_lost_in_time_and_not_for_good() -> None:
    """Its connection stands as before: nothing but the clock tells."""
    with plain_cluster(30.0) as (cluster, link):
        assert link._look() is None
        link.silence_s = 1.0
        handlers = cluster.scheduler.handlers
        answers = handlers["identity"]

        async def never(**_: object) -> None:
            await asyncio.Event().wait()

        handlers["identity"] = never
        began = time.monotonic()
        assert link._look() == f"the scheduler {link.address} is lost: it said nothing for 1 s"
        assert 1.0 <= time.monotonic() - began < 60
        link._looked = -60.0  # an answer may be as old as a second
        with pytest.raises(HostLost, match="it said nothing for 1 s"):
            link.require_alive("tcp://127.0.0.1:1", "rack1")
        handlers["identity"] = answers
        link.silence_s = 30.0
        assert link._look() is None


def test_a_scheduler_that_falls_silent_while_workers_are_waited_for_is_given_up() -> None:
    with plain_cluster(30.0) as (cluster, link):

        async def never(**_: object) -> None:
            await asyncio.Event().wait()

        link.silence_s = 0.5
        cluster.scheduler.handlers["identity"] = never
        with pytest.raises(dask.MissingPrerequisite, match="a Dask scheduler with a worker at"):
            dask.members_at(link, patience_s=0.5)


def test_a_question_is_wanted_until_its_task_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask would let the worker go on with it."""
    at_first: list[bool] = []
    begun, ended = threading.Event(), threading.Event()

    async def watch(_label: str, _question: str, wanted: Callable[[], bool]) -> bytes:
        at_first.append(wanted())
        begun.set()
        while wanted():
            await asyncio.sleep(0.01)
        ended.set()
        return b'{"answer": {}}'

    monkeypatch.setattr(relay, "ask_station", watch)
    with plain_cluster(30.0) as (_, link):
        member = dask.members_at(link)[0]
        member._address = next(iter(link.workers()))

        async def go() -> None:
            asking = asyncio.create_task(member.ask(Measured()))
            assert await asyncio.to_thread(begun.wait, 60)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            assert await asyncio.to_thread(ended.wait, 60)

        asyncio.run(go())
    assert at_first == [True]
