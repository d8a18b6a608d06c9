"""Campaigns over many hosts, and hosts that are no processes: killed, full, away, as a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import tarfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fake_host import FACTS, Heard
from fake_station import done_of

from harness.campaign.campaign import Campaign
from harness.hosts.contract import STARTING, OnStep
from harness.hosts.pool import Pool
from harness.hosts.station_client import HostLost
from harness.hosts.station_messages import STANDING, Calibrate, Facts, Measured, Plan, Question
from harness.results.store import RunFolder
from harness.scenario.planned import Planned, plan_trials
from harness.trial.messages import Done

if TYPE_CHECKING:  # `bench.hosts` measures by these, and needs no pytest
    import pytest

SCENARIO = """\
description: x
topology: two-sites
matrix: {nat_a: [full-cone, symmetric, port-restricted], nat_b: [full-cone, symmetric]}
overlays: {underlay: , refmesh: [mesh, relay]}
probes: [path]
repeats: 4
"""
PASSING = ("started_at", "host", "run")


def plan(tmp_path: Path, repeats: int = 4) -> Planned:
    (tmp_path / "mine.yaml").write_text(SCENARIO.replace("repeats: 4", f"repeats: {repeats}"))
    return plan_trials(str(tmp_path / "mine.yaml"))


class FakeMember:
    """Ends trials in a few turns of the loop; `kill` takes away what it runs, and it needs to be opened again."""

    def __init__(self, name: str, slots: int = 4, **facts: Any) -> None:
        self.name, self.slots = name, slots
        self.facts = FACTS.model_copy(update=facts)
        self.calibration: dict[str, Any] = {"ok": True, "lateness_p99_us": 20.0}
        self.standing: str | None = None
        self.full = False
        self.is_open = False
        self.plan: set[str] = set()
        self.seeds: dict[str, int] = {}
        self.ran: list[str] = []
        self.live: dict[str, asyncio.Future[None]] = {}
        self.most = 0
        self.never_back = False
        self.opened = 0

    async def open(self) -> None:
        await asyncio.sleep(0)
        self.opened += 1
        if self.never_back:
            raise HostLost(f"host {self.name}: no route to it")
        self.is_open, self.plan = True, set()

    async def ask(self, question: Question) -> dict[str, Any]:
        if not self.is_open:
            raise HostLost(f"host {self.name}: it is closed")
        if isinstance(question, Plan):
            self.plan |= {trial.id for trial in question.trials}
            self.seeds |= {trial.id: trial.seed for trial in question.trials}
        facts = {**self.facts.model_dump(mode="json"), STANDING: self.standing}
        answers = {Facts: facts, Calibrate: self.calibration, Measured: {"virtual": True}}
        return answers.get(type(question), {})

    async def run(self, trial: str, on_step: OnStep) -> tuple[Done, bytes]:
        if not self.is_open:
            raise HostLost(f"host {self.name}: it is closed")
        assert trial in self.plan and trial not in self.live
        on_step(STARTING)
        killed = self.live[trial] = asyncio.get_running_loop().create_future()
        self.most = max(self.most, len(self.live))
        try:
            for _ in range(3):
                await asyncio.sleep(0)
                if killed.done():
                    raise HostLost(f"host {self.name}: it ended")
        finally:
            del self.live[trial]
        self.ran.append(trial)
        if self.full:
            return Done(outcome="failed", error="x", cannot_write="no space left on device"), b""
        return done_of(self.seeds[trial]), EVIDENCE

    async def close(self) -> None:
        self.is_open = False

    def kill(self) -> None:
        self.is_open = False
        for killed in self.live.values():
            if not killed.done():
                killed.set_result(None)


def evidence() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("seed.log"))
    return buffer.getvalue()


EVIDENCE = evidence()


def campaign(tmp_path: Path, planned: Planned, pool: Pool, heard: Heard | None = None) -> Campaign:
    folder = RunFolder(tmp_path / "run")
    folder.create({"schema": 2, "run": "r"}, [])
    pool.require(planned.trials, planned.overlays)
    return Campaign(
        folder=folder, run="r", overlays=planned.overlays, host=pool, facts=pool.describe(), progress=heard or Heard()
    )


def admission(
    members: Sequence[FakeMember], planned: Planned, *, install: bool = False
) -> tuple[list[str], dict[str, str]]:
    """Return the names of the hosts that are admitted, and why each of the others is refused."""
    pool = Pool(members, install=install)
    pool.require(planned.trials, planned.overlays)
    account = pool.account()
    return [one["name"] for one in account["hosts"].values()], account.get("hosts_refused", {})


def answering(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[FakeMember, Question], Awaitable[dict[str, Any] | None]]
) -> None:
    """Have members answer as `answer` says; where it says None, as ever."""
    ask = FakeMember.ask

    async def answered(one: FakeMember, question: Question) -> dict[str, Any]:
        said = await answer(one, question)
        return await ask(one, question) if said is None else said

    monkeypatch.setattr(FakeMember, "ask", answered)


def lasting(folder: Path) -> list[str]:
    """Return the lines of the file without what differs between machines, sorted; all of them, read or not."""
    rows = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    kept = [{key: value for key, value in row.items() if key not in PASSING} for row in rows]
    return sorted(json.dumps(row | ({"value": 0} if row["metric"] == "duration_s" else {})) for row in kept)


def labelled(out: Path) -> list[str]:
    """Return the command lines of living stations of a run through a scheduler."""
    return naming(re.sub(r"[^A-Za-z0-9._-]", "-", str(out)))


def begun_in(folder: Path, text: str) -> list[str]:
    """Return the command lines with a text of living processes whose environment names a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes().decode(errors="replace")
            if text in line and os.fsencode(folder) in (entry / "environ").read_bytes():
                found.append(line)
    return found


def naming(text: str) -> list[str]:
    """Return the command lines of living processes that contain a text."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(entry.read_bytes().decode(errors="replace"))
    return [line for line in found if text in line]
