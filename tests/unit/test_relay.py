"""The stations that a Dask worker keeps for campaigns: real ones, on a machine that only pretends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.hosts import relay
from harness.hosts.station_messages import Measured

OPTIONS = json.dumps({"name": "rack1", "jobs": 2, "silence_s": 30.0})


@pytest.fixture(autouse=True)
def pretending(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    fake = Path(__file__).with_name("fake_station.py")
    monkeypatch.setattr(relay, "STATION", [sys.executable, str(fake)])
    monkeypatch.setattr(relay, "IDLE_S", 3600.0)
    yield
    assert not relay._stations, "each test closes its own"


def test_a_station_that_nobody_asks_anything_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its campaign was killed before its first question, say."""
    monkeypatch.setattr(relay, "IDLE_S", 0.1)

    async def go() -> None:
        assert await relay.open_station("run", OPTIONS) == b"{}"
        process = relay._stations["run"].client._process
        await asyncio.wait_for(process.wait(), 60)
        while relay._stations:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(go(), 90))


def test_a_station_that_is_wanted_waits_on() -> None:
    async def go() -> None:
        await relay.open_station("run", OPTIONS)
        kept = relay._stations["run"]
        first = kept.timer
        assert await relay.keep_station("run") == b"{}"
        assert first is not None and first.cancelled()
        assert kept.timer is not None and not kept.timer.cancelled() and kept.timer.when() > first.when()
        assert json.loads(await relay.ask_station("run", Measured().model_dump_json(), lambda: True)) == {"answer": {}}
        await relay.close_station("run")
        said = json.loads(await relay.keep_station("run"))
        assert (said["error"], said["text"]) == ("HostLost", "its station is closed")

    asyncio.run(go())


def test_a_question_whose_answer_nobody_wants_any_more_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its station would count as used, and would not end, until it has answered."""
    monkeypatch.setattr(relay, "STATION", [sys.executable, "-c", "import sys\nfor _ in sys.stdin: pass"])
    monkeypatch.setattr(relay, "_LOOK_S", 0.01)

    async def go() -> None:
        await relay.open_station("run", OPTIONS)
        said = json.loads(await relay.ask_station("run", Measured().model_dump_json(), lambda: False))
        assert (said["error"], said["text"]) == ("HostLost", "nobody wants it any more")
        assert relay._stations["run"].users == 0
        await relay.close_station("run")

    asyncio.run(asyncio.wait_for(go(), 60))


def test_who_used_a_station_that_is_closed_does_nothing_to_the_next_one() -> None:
    async def go() -> None:
        await relay.open_station("run", OPTIONS)
        older = relay._stations["run"]
        with contextlib.suppress(relay.HostLost):
            async with relay._using("run"):
                await relay.open_station("run", OPTIONS)
                newer = relay._stations["run"]
                timer = newer.timer
        assert relay._stations["run"] is newer and newer.timer is timer and newer.users == 0
        assert older.timer is not None and older.timer.cancelled(), "it would close the newer one, by its name"
        await relay.close_station("run")

    asyncio.run(go())
