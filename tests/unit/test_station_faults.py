"""A fault of the program in one request of a station: its client hears of it, and the others are answered."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from fake_station import PretendingHost
from pool_runs import plan

from harness.errors import StorageError
from harness.hosts import serving
from harness.hosts.station import _serve_socket
from harness.hosts.station_messages import REQUEST, Answer, Facts, Lacking, Refused, Run, line_of


class Said:
    """Keeps what a station says to its client, but for signs of life."""

    def __init__(self) -> None:
        self.replies: list[dict[str, Any]] = []
        self.more = asyncio.Event()

    def write(self, data: bytes) -> None:
        reply = json.loads(data)
        if reply["do"] != "alive":
            self.replies.append(reply)
            self.more.set()

    async def drain(self) -> None: ...

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await self.more.wait()
            self.more.clear()


def made(scratch: Path) -> tuple[serving.Station, asyncio.StreamReader, Said]:
    reader, said = asyncio.StreamReader(), Said()
    writer = cast(asyncio.StreamWriter, said)
    return serving.Station(reader, writer, label="x", jobs=1, silence_s=60.0, scratch=scratch), reader, said


@pytest.fixture(autouse=True)
def faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    def describe(_: PretendingHost) -> Any:
        raise KeyError("no such key")

    monkeypatch.setattr(PretendingHost, "describe", describe)
    monkeypatch.setattr(serving, "LocalHost", PretendingHost)


def test_a_question_that_meets_a_fault_is_refused_and_the_next_one_answered(tmp_path: Path) -> None:
    async def go() -> list[dict[str, Any]]:
        station, reader, said = made(tmp_path)
        reader.feed_data(line_of(Facts(number=7, overlays=[])) + line_of(Lacking(number=8, overlays=[])))
        serving_it = asyncio.create_task(station.serve())
        await said.until(lambda: len(said.replies) == 2)
        reader.feed_eof()
        await serving_it
        return said.replies

    refused, answer = asyncio.run(asyncio.wait_for(go(), 60))
    assert (refused["do"], refused["number"], refused["error"]) == ("refused", 7, "LabError")
    assert refused["text"].startswith("a fault of the program:\nTraceback") and "no such key" in refused["text"]
    assert (answer["do"], answer["number"]) == ("answer", 8)


def test_a_trial_that_meets_a_fault_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = plan(tmp_path, repeats=1).trials[0]

    async def failing(*_: object) -> Any:
        raise KeyError("no such key")

    async def go() -> list[dict[str, Any]]:
        station, reader, said = made(tmp_path)
        station._plan, station._complete = {trial.id: trial}, True
        monkeypatch.setattr(station, "_done", failing)
        reader.feed_data(line_of(Run(trial=trial.id)))
        serving_it = asyncio.create_task(station.serve())
        await said.until(lambda: bool(said.replies))
        reader.feed_eof()
        await serving_it
        return said.replies

    (refused,) = asyncio.run(asyncio.wait_for(go(), 60))
    assert (refused["do"], refused["trial"]) == ("refused", trial.id) and "no such key" in refused["text"]


def test_a_station_that_can_answer_no_more_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would say for ever that it lives."""

    async def go() -> None:
        station, reader, _ = made(tmp_path)
        send = station._send

        async def failing(message: Any, evidence: bytes = b"") -> None:
            if isinstance(message, Answer):
                raise RuntimeError("it cannot be sent")
            await send(message, evidence)

        monkeypatch.setattr(station, "_send", failing)
        reader.feed_data(line_of(Lacking(overlays=[])))
        await station.serve()

    with pytest.raises(RuntimeError, match="it cannot be sent"):
        asyncio.run(asyncio.wait_for(go(), 60))


def test_a_station_at_a_socket_ends_by_a_fault_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client saw a connection on which nothing came, and its process stayed."""

    async def failing(_station: serving.Station) -> None:
        raise RuntimeError("it cannot serve")

    async def go() -> bytes:
        path = tmp_path / "s"
        settings = {"label": "x", "jobs": 1, "silence_s": 60.0, "scratch": tmp_path}
        serving_it = asyncio.create_task(_serve_socket(path, settings))
        while not path.exists():
            await asyncio.sleep(0)
        reader, writer = await asyncio.open_unix_connection(path)
        said = await reader.read()
        writer.close()
        with pytest.raises(RuntimeError, match="it cannot serve"):
            await serving_it
        assert not path.exists()
        return said

    monkeypatch.setattr(serving.Station, "serve", failing)
    assert asyncio.run(asyncio.wait_for(go(), 60)) == b""


def test_only_what_concerns_storage_is_told_as_such(tmp_path: Path) -> None:
    """Others would be sent what a host without setpriv refused, as if its disk were full."""
    full = serving._told(OSError(errno.ENOSPC, "no space left on device"), tmp_path)
    assert isinstance(full, StorageError)
    for error in (FileNotFoundError(errno.ENOENT, "no such file", "setpriv"), TimeoutError("too late")):
        told = serving._told(error, tmp_path)
        assert not isinstance(told, StorageError)
        assert "a fault of the program" in str(told)


def test_messages_of_another_commit_may_have_more_fields() -> None:
    """Its host must be able to say at which commit it is."""
    assert REQUEST.validate_json('{"do": "facts", "overlays": [], "new": 1}') == Facts(overlays=[])
    assert Answer.model_validate({"do": "answer", "new": 1, "value": {"a": 1}}).value == {"a": 1}
    assert Refused.model_validate({"do": "refused", "error": "LabError", "text": "no", "new": 1}).text == "no"
