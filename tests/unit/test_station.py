"""A station as its client sees it: a real process and real pipes, on a machine that only pretends."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import stat
import sys
import tarfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from harness.errors import LabError
from harness.hosts.contract import STARTING
from harness.hosts.evidence import pack, unpack
from harness.hosts.member import hand_over, in_pieces
from harness.hosts.station_client import HostLost, StationClient
from harness.hosts.station_member import StationMember
from harness.hosts.station_messages import Alive, Calibrate, Facts, Measured, Plan, Run, line_of
from harness.model.trial import Trial
from harness.sandbox.scratch import PREFIX
from harness.scenario.planned import Planned, plan_trials

FAKE = (sys.executable, str(Path(__file__).with_name("fake_station.py")))
SCENARIO = """\
description: x
topology: two-sites
matrix: {nat_a: [full-cone, symmetric]}
overlays: {underlay: , refmesh: [mesh, relay]}
probes: [path]
"""
Told = TypeVar("Told")


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    (tmp_path / "mine.yaml").write_text(SCENARIO)
    return plan_trials(str(tmp_path / "mine.yaml"))


def with_station(
    trials: Sequence[Trial], use: Callable[[StationMember], Awaitable[Told]], argv: Sequence[str] = FAKE
) -> Told:
    async def go() -> Told:
        member = StationMember("one", 4, argv, "test")
        try:
            await member.open()
            await hand_over(member, list(in_pieces(trials)))
            return await use(member)
        finally:
            await member.close()

    return asyncio.run(go())


def test_a_trial_runs_there_and_its_evidence_lies_here(planned: Planned, tmp_path: Path) -> None:
    steps: list[str] = []
    trial = planned.trials[2]

    async def use(member: StationMember) -> tuple[float, bytes]:
        done, evidence = await member.run(trial.id, steps.append)
        return float(done.measurements[0]["value"]), evidence

    value, evidence = with_station(planned.trials, use)
    assert value == trial.seed % 1000 and steps == [STARTING, "measuring"]
    (tmp_path / "there").mkdir()
    unpack(evidence, tmp_path / "there")
    assert (tmp_path / "there" / "seed.log").read_text() == str(trial.seed)
    assert trial.id in (tmp_path / "there" / "job.json").read_text()


def test_what_its_copy_of_the_plan_does_not_contain_does_not_run(planned: Planned) -> None:
    async def use(member: StationMember) -> list[str]:
        said = []
        for name in (planned.trials[-1].id, "../../etc", ""):
            with pytest.raises(LabError) as error:
                await member.run(name, lambda _: None)
            said.append(str(error.value))
        with pytest.raises(LabError) as error:
            await member.ask(Plan(trials=planned.trials[-1:]))
        said.append(str(error.value))
        assert (await member.run(planned.trials[0].id, lambda _: None))[0].outcome == "ok"
        return said

    said = with_station(planned.trials[:-1], use)
    assert all("is no trial of the plan that this host was given" in text for text in said[:3])
    assert "the plan is complete" in said[3]


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".."])
def test_a_trial_that_is_called_like_a_path_is_refused(planned: Planned, name: str) -> None:
    async def use(_: StationMember) -> None: ...

    with pytest.raises(LabError, match="is no name of a trial"):
        with_station([planned.trials[0].model_copy(update={"id": name})], use)


async def begun_or_ended(begun: asyncio.Event, running: asyncio.Task[Any]) -> None:
    """Wait until a trial has begun; raise what it ended with where it has ended instead."""
    waiting = asyncio.create_task(begun.wait())
    await asyncio.wait({waiting, running}, return_when=asyncio.FIRST_COMPLETED)
    if not begun.is_set():
        waiting.cancel()
        raise AssertionError(f"it ended before it began: {running.exception() or running.result()}")


def test_a_killed_station_is_noticed_and_leaves_no_folder(
    planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TRIAL_S", "100")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    folders: list[Path] = []

    async def use(member: StationMember) -> None:
        begun = asyncio.Event()
        running = asyncio.create_task(member.run(planned.trials[0].id, lambda _: begun.set()))
        await begun_or_ended(begun, running)
        assert member._client is not None
        pid = member._client._process.pid
        folders.extend(tmp_path.glob(f"{PREFIX}*"))
        assert (folders[0] / planned.trials[0].id).exists()
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(HostLost, match="host one: it ended"):
            await running

    with_station(planned.trials, use)
    deadline = time.monotonic() + 20
    while any(folder.exists() for folder in folders) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [folder for folder in folders if folder.exists()]


def test_a_station_that_stands_still_is_lost_after_the_time_that_was_agreed(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TRIAL_S", "100")
    # It is waited out, and no station of a busy machine may be silent for so long before it stands still.
    monkeypatch.setenv("OVERLAYBENCH_HOST_SILENCE_S", "10")

    async def use(member: StationMember) -> None:
        begun = asyncio.Event()
        running = asyncio.create_task(member.run(planned.trials[0].id, lambda _: begun.set()))
        await begun_or_ended(begun, running)
        assert member._client is not None
        os.kill(member._client._process.pid, signal.SIGSTOP)
        with pytest.raises(HostLost, match="it said nothing for 10 s"):
            await running

    with_station(planned.trials, use)


def test_a_station_that_is_being_started_is_not_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that was agreed begins with its first word; one that never says a word is lost all the same."""

    async def lost_of(program: str) -> None:
        client = await StationClient.start(("sh", "-c", program, "sh", line_of(Alive()).decode()), "one", 0.2)
        try:
            with pytest.raises(HostLost, match=r"it said nothing for 0\.2 s"):
                await client.ask(Measured())
        finally:
            await client.close()

    started = tmp_path / "started"
    asyncio.run(lost_of(f'sleep 1; touch {started}; printf %s "$1"; exec sleep 100'))
    assert started.exists()
    monkeypatch.setattr("harness.hosts.station_client.DEFAULT_S", 0.2)
    asyncio.run(lost_of("exec sleep 100"))


def test_what_is_no_station_is_lost_with_its_last_words() -> None:
    async def use(_: StationMember) -> None: ...

    with pytest.raises(HostLost, match=r"host one: .*\(ssh: no route to host\)"):
        with_station([], use, ("sh", "-c", "echo 'ssh: no route to host' >&2; exit 255", "sh"))
    with pytest.raises(HostLost, match="host one: what came is no message of a station"):
        with_station([], use, ("sh", "-c", "echo welcome; exec sleep 100", "sh"))
    with pytest.raises(HostLost, match="host one: nobody: No such file"):
        with_station([], use, ("nobody",))


def test_a_socket_is_its_owners_and_takes_one_client(tmp_path: Path) -> None:
    """And bytes that are no message are refused without an end."""
    path = tmp_path / "s"

    async def go() -> list[bytes]:
        station = await asyncio.create_subprocess_exec(*FAKE, "--socket", str(path))
        while not path.exists():
            await asyncio.sleep(0.01)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        reader, writer = await asyncio.open_unix_connection(path)
        for sent in (b"\xff\x00\n", b'{"do": "shell"}\n', line_of(Run(trial="x")), line_of(Facts(overlays=["nobody"]))):
            writer.write(sent)
        said: list[bytes] = []
        while len(said) < 4:  # between them come as many signs of life as the machine is slow
            line = await reader.readline()
            said += [line] if line != line_of(Alive()) else []
        second, also = await asyncio.open_unix_connection(path)
        assert await second.read() == b""
        also.close()
        writer.close()
        assert await station.wait() == 0
        return said

    said = asyncio.run(go())
    assert [b"not understood" in line for line in said] == [True, True, False, False]
    assert b"is no trial of the plan" in said[2] and b"no overlay nobody" in said[3]
    assert not path.exists()


def test_evidence_crosses_whole_and_links_and_sockets_do_not(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    (there / "a" / "deep").mkdir(parents=True)
    (there / "a" / "log").write_bytes(bytes(range(256)) * 100)
    (there / "empty").touch()
    (there / "link").symlink_to("/etc/passwd")
    os.mkfifo(there / "pipe")
    here.mkdir()
    unpack(pack(there), here)
    assert sorted(path.relative_to(here).as_posix() for path in here.rglob("*")) == ["a", "a/deep", "a/log", "empty"]
    assert (here / "a" / "log").read_bytes() == bytes(range(256)) * 100


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", "link"])
def test_evidence_that_leads_elsewhere_is_refused_whole(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("good"))
        entry = tarfile.TarInfo(name)
        if name == "link":
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(entry)
    (tmp_path / "here").mkdir()
    for data in (buffer.getvalue(), b"no tar at all"):
        with pytest.raises(LabError, match="cannot be read"):
            unpack(data, tmp_path / "here")
    assert not list((tmp_path / "here").iterdir()) and not (tmp_path / "out").exists()


def sparse(said: int) -> bytes:
    """Return a tar of some hundred bytes with a file that says it is so large."""
    entry = tarfile.TarInfo("holes")
    entry.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(said)}
    entry.pax_headers |= {"GNU.sparse.realsize": str(said), "GNU.sparse.map": f"{said - 1},1"}
    entry.size = 1
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(entry, io.BytesIO(b"x"))
    return buffer.getvalue()


def test_evidence_that_no_folder_can_hold_is_refused_and_ends_no_run(tmp_path: Path) -> None:
    """As a tar with names that clash or are too long, and with a file of holes, which is larger than any memory."""
    for names, why in (
        (("a", "a/b"), "'a' is file and folder"),
        (("a/b", "a"), "'a' is file and folder"),
        (("x" * 256,), "is too long a name"),
        (("/".join(["x" * 100] * 11),), "is too long a name"),
    ):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name in names:
                tar.addfile(tarfile.TarInfo(name))
        with pytest.raises(LabError, match=why):
            unpack(buffer.getvalue(), tmp_path)
    with pytest.raises(LabError, match="'holes' is a file with holes"):
        unpack(sparse(1 << 50), tmp_path)
    assert not list(tmp_path.iterdir())


def test_calibration_is_asked_of_the_station(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_BROKEN", "1")

    async def use(member: StationMember) -> object:
        return await member.ask(Calibrate())

    assert with_station(planned.trials, use) == {
        "ok": False,
        "nat": {"cases": 1, "wrong": "full-cone: APDF"},
    }
