"""What goes wrong behind a scheduler: a fault of the program is no lost host, and nobody's pickle is opened here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dask_cluster import Cluster

from harness.errors import LabError, MissingPrerequisite
from harness.hosts.certificates import tls_files
from harness.hosts.station_client import HostLost
from harness.scenario.load import POPULATIONS
from harness.simulation.load import load_population
from harness.simulation.remote import results_from

distributed = pytest.importorskip("distributed", reason="pip install -e '.[dask]'")
settings = pytest.importorskip("dask.config", reason="pip install -e '.[dask]'")
protocol = pytest.importorskip("distributed.protocol", reason="pip install -e '.[dask]'")
cloudpickle = pytest.importorskip("cloudpickle", reason="pip install -e '.[dask]'")
dask = pytest.importorskip("harness.hosts.dask", reason="pip install -e '.[dask]'")
dask_pickles = pytest.importorskip("harness.hosts.dask_pickles", reason="pip install -e '.[dask]'")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVERLAYBENCH_TLS", "")
        made = Cluster(tmp_path_factory.mktemp("cluster"), {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"})
        try:
            made.start_scheduler()
            made.start_worker("rack1")
            made.until(lambda: "Registered to" in made.said("rack1"))
            yield made
        finally:
            made.close()


@pytest.fixture
def link(cluster: Cluster) -> Iterator[Any]:
    made = dask.Link(cluster.address, tls_files(), "faults", 30.0)
    try:
        made.client().wait_for_workers(1, timeout=30)
        yield made
    finally:
        made.close()


def test_a_function_that_fails_is_no_lost_host(link: Any) -> None:
    def fails_at_three(text: str) -> bytes:
        if text == "3":
            raise OSError(f"world {text} has no end")
        return text.encode() * 2

    found = []
    with pytest.raises(RuntimeError, match=r"(?s)a fault on one of the hosts of tls://.*OSError: world 3 has no end"):
        for each in link.map(fails_at_three, ["1", "2", "3"]):
            found.append(each)
    assert found == [b"11", b"22"]


def test_a_world_that_fails_is_told_with_its_trace(cluster: Cluster) -> None:
    loaded = load_population("levels", POPULATIONS)
    beyond = 10_000_000
    with pytest.raises(RuntimeError, match=r"(?s)a fault on one of the hosts of tls://.*IndexError: \d+"):
        list(results_from(cluster.address, "r", loaded, [beyond], "label"))


def test_a_worker_that_dies_is_a_lost_host(cluster: Cluster, link: Any) -> None:
    def dies(_text: str) -> bytes:
        os._exit(1)

    with pytest.raises(HostLost, match="its worker was lost"):
        list(link.map(dies, ["1"]))
    cluster.until(lambda: cluster.said("rack1").count("Registered to") >= 2)  # its nanny has started it again


def test_a_worker_with_another_program_is_told_so(link: Any) -> None:
    class Elsewhere:
        def __reduce__(self) -> tuple[Any, ...]:
            return __import__, ("a_module_that_rack1_lacks",)

    with pytest.raises(MissingPrerequisite, match=r"cannot call what it was asked to.*the same commit on every host"):
        list(link.map(Elsewhere(), ["1"]))


def test_a_fault_of_the_relay_is_no_lost_worker(link: Any) -> None:
    async def broken(*_words: str) -> bytes:
        raise ZeroDivisionError("of the relay")

    (member,) = dask.members_at(link)
    member._address = next(iter(link.workers()))

    async def go() -> bytes:
        return bytes(await member._submit(broken, "label"))

    said = asyncio.run(go())
    with pytest.raises(LabError, match=r"(?s)a fault of the program:.*ZeroDivisionError: of the relay"):
        dask._answer(said, "rack1")


def test_a_run_ends_beside_a_worker_of_which_nobody_knows_yet_that_it_is_frozen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its silence would be told as a fault of the folder: a TimeoutError is an OSError."""
    monkeypatch.setattr(dask, "_CLOSING_S", 0.05)
    member = dask.DaskMember(dask.Link("tls://127.0.0.1:1", None, "x", 60.0), "rack1", 1)
    member._address = "tls://127.0.0.1:2"

    async def never(*_words: object) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(member, "_submit", never)
    asyncio.run(member.close())
    assert member._address is None


def test_a_station_without_work_is_kept_as_long_as_its_campaign_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "_KEEPING_S", 0.001)
    link = dask.Link("tls://127.0.0.1:1", None, "x", 60.0)
    monkeypatch.setattr(link, "workers", lambda: {"tls://127.0.0.1:2": {"name": "rack1"}})
    member = dask.DaskMember(link, "rack1", 1)

    async def go() -> None:
        asked: asyncio.Queue[str] = asyncio.Queue()

        async def submit(function: Any, *_words: object) -> bytes:
            asked.put_nowait(function.__name__)
            if function is dask.keep_station:
                raise HostLost("not heard")
            return b"{}"

        monkeypatch.setattr(member, "_submit", submit)
        await member.open()
        said = [await asked.get() for _ in range(3)]
        await member.close()
        assert said == ["open_station", "keep_station", "keep_station"]
        assert member._keeping is None and len(asyncio.all_tasks()) == 1

    asyncio.run(go())


@pytest.mark.parametrize(
    ("scheduler", "worker", "nanny", "exposed"),
    [
        ("tcp://127.0.0.1:8786", "tcp://127.0.0.1:1", "tcp://[::1]:2", ""),
        ("tls://10.0.0.5:8786", "tls://10.0.0.6:1", "tls://10.0.0.6:2", ""),
        ("tcp://10.0.0.5:8786", "tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp://10.0.0.5:8786"),
        ("tcp://127.0.0.1:8786", "tcp://10.0.0.6:1", None, "tcp://10.0.0.6:1"),
        ("tcp://127.0.0.1:8786", "tcp://127.0.0.1:1", "tcp://[2001:db8::1]:2", "tcp://[2001:db8::1]:2"),
        ("tls://10.0.0.5:8786", "tcp://10.0.0.6:1", None, "tcp://10.0.0.6:1"),
        ("tcp://127.0.0.1:8786", "tcp://[10.0.0.6:1", None, "tcp://[10.0.0.6:1"),  # no address at all
    ],
)
def test_what_listens_without_tls_for_others_is_refused_however_it_was_reached(
    monkeypatch: pytest.MonkeyPatch, scheduler: str, worker: str, nanny: str | None, exposed: str
) -> None:
    """By a tunnel say: it ends on loopback, and leads to a scheduler that listens on all interfaces, Dask's default."""

    class Reached:
        scheduler = SimpleNamespace(identity=None)

        _wait_for_workers = None

        def sync(self, *_: object, **__: object) -> dict[str, Any]:
            return {"address": scheduler, "workers": {worker: {"name": "rack1", "nanny": nanny, "nthreads": 1}}}

    link = dask.Link("tcp://127.0.0.1:8786", None, "x", 1.0)
    monkeypatch.setattr(link, "_connected", Reached)
    if not exposed:
        assert [member.name for member in dask.members_at(link)] == ["rack1"]
        return
    said = rf"only this machine can reach \({re.escape(exposed)} takes whatever anybody sends\).*--host 127\.0\.0\.1"
    with pytest.raises(MissingPrerequisite, match=said):
        dask.members_at(link)


def test_a_plain_scheduler_and_worker_on_loopback_are_taken() -> None:
    options = {"n_workers": 1, "threads_per_worker": 3, "processes": False, "protocol": "tcp", "host": "127.0.0.1"}
    # What a cluster that was brought up by an earlier test of this process has set.
    plainly = settings.set({"distributed.comm.require-encryption": False})
    with plainly, distributed.LocalCluster(**options, dashboard_address="127.0.0.1:0") as plain:
        made = dask.Link(plain.scheduler_address, None, "plain", 30.0, own=True)
        try:
            assert [member.slots for member in dask.members_at(made)] == [3]
        finally:
            made.close()


def test_errors_warnings_types_and_events_of_workers_are_not_opened(link: Any, tmp_path: Path) -> None:
    opened = tmp_path / "opened"

    class Trap(Exception):
        """Whoever opens its pickle leaves the number of its process."""

        def __reduce__(self) -> tuple[Any, ...]:
            return spring, ()

    def spring() -> Trap:
        with opened.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return Trap()

    def springs(_text: str) -> bytes:
        worker = distributed.get_worker()
        worker.log_event("warn", {"message": cloudpickle.dumps(Trap())})
        event = {"op": "log-event", "topic": "steps-faults", "msg": {"key": "1", "text": Trap()}}
        worker.loop.add_callback(worker.batched_send, event)  # past what Dask lets others send
        worker.log_event("steps-faults", "after the warning")
        raise Trap

    heard: list[Any] = []
    client = link.client()
    client.subscribe_topic("steps-faults", heard.append)
    future = client.submit(springs, "1", pure=False)
    assert "cannot call what it was asked to" in str(future.exception(timeout=30))
    deadline = time.monotonic() + 30
    while len(heard) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert heard[1][1] == "after the warning" and isinstance(heard[0][1]["text"], dask_pickles.Unopened)
    client._handle_key_in_memory(key=client.submit(len, "1").key, type=cloudpickle.dumps(Trap()), workers=[])
    header = {"serializer": "dask", "type-serialized": cloudpickle.dumps(Trap()), "sub-header": {}}
    for message in (protocol.ToPickle(Trap()), protocol.Serialized(header, [b""])):
        with contextlib.suppress(TypeError, AttributeError):
            read = protocol.loads(protocol.dumps({"data": message}), deserializers=["dask", "msgpack"])
            assert isinstance(read["data"], dask_pickles.Unopened)
    assert opened.exists(), "the worker itself has looked whether its error can be opened"
    assert str(os.getpid()) not in opened.read_text().split()
