"""A host without machines: takes jobs and ends them as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.hosts.contract import HostFacts, OnStep
from harness.model.trial import Trial
from harness.overlay.contract import Overlay
from harness.results.record import Record
from harness.trial.messages import Done, Job

FACTS = HostFacts(
    commit="abc", privileged=True, machine={"kernel": "6", "load_1min": 1}, tool_versions={}, overlay_versions={}
)
OK = Done(outcome="ok")


class FakeHost:
    """Takes jobs and ends them as `answer` says; keeps how many it had at a time."""

    def __init__(self, answer: Callable[[Job], Done] = lambda _job: OK, slots: int = 2) -> None:
        self.answer, self.slots = answer, slots
        self.live: set[str] = set()
        self.most = 0
        self.ran: list[str] = []
        self.closed = False
        self.hang_at: str | None = None

    def describe(self) -> HostFacts:
        return FACTS

    def lacking(self, overlays: Mapping[str, Overlay]) -> dict[str, str]:
        del overlays
        return {}

    def require(self, trials: Sequence[Trial], overlays: Mapping[str, Overlay]) -> None: ...

    @contextlib.contextmanager
    def measuring(self) -> Iterator[dict[str, Any]]:
        yield {}

    async def run(self, job: Job, folder: Path, on_step: OnStep) -> Done:
        assert folder.is_dir() and not list(folder.iterdir())
        name = job.trial.id
        self.live.add(name)
        self.most = max(self.most, len(self.live))
        try:
            on_step("starting")
            await asyncio.sleep(0)
            if name == self.hang_at:
                os.kill(os.getpid(), signal.SIGINT)
                await asyncio.Event().wait()
            self.ran.append(name)
            return self.answer(job)
        finally:
            self.live.discard(name)

    async def close(self) -> None:
        assert not self.live, "every job has ended before its host is closed"
        self.closed = True


class Heard:
    """A progress display that keeps what it hears."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def began(self, trial: Trial) -> None:
        self.said.append(f"began {trial.id}")

    def step(self, trial: Trial, text: str) -> None:
        self.said.append(f"{text} {trial.id}")

    def ended(self, trial: Trial, records: Sequence[Record], complaints: Sequence[str]) -> None:
        self.said.append(f"ended {trial.id}: {records[-1].outcome} {' '.join(complaints)}".strip())
