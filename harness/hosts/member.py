"""What a pool of hosts asks of each: to be reached, to answer, to run trials of the plan that it was given."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from harness.errors import LabError, storage_errors
from harness.hosts.contract import STARTING, OnStep
from harness.hosts.evidence import unpack
from harness.hosts.station_messages import PIECE, Plan, Question, Require
from harness.model.trial import Trial
from harness.topology.trace_files import with_trace_paths
from harness.trial.messages import Done


class Member(Protocol):
    """One host of a pool."""

    @property
    def name(self) -> str:
        """As the user calls it."""

    @property
    def slots(self) -> int:
        """How many trials it takes at a time."""

    async def open(self) -> None:
        """Reach it anew; what ran there, if anything, has ended.

        Raises:
            HostLost: it cannot be reached.
        """

    async def ask(self, question: Question) -> dict[str, Any]:
        """Return its answer. Raises HostLost, or what it answered instead."""

    async def run(self, trial: str, on_step: OnStep) -> tuple[Done, bytes]:
        """Run a trial of its plan; return its end and its evidence as a tar. Raises as `ask`; cancelling ends it."""

    async def close(self) -> None:
        """End what runs there, and let it go; `open` may be called again."""


async def hand_over(member: Member, plan: Sequence[Plan]) -> None:
    """Give a member the plan, in the pieces of `in_pieces`, and have it look whether it can run it.

    Raises:
        HostLost: it was lost meanwhile.
        MissingPrerequisite: it lacks something.
    """
    for piece in plan:
        await member.ask(piece)
    await member.ask(Require())


def in_pieces(trials: Sequence[Trial]) -> Iterator[Plan]:
    """Yield a plan in pieces; each trace comes once, and is called by its SHA-256 from then on."""
    names: dict[str, str] = {}
    fresh: dict[str, str] = {}

    def by_digest(name: str) -> str:
        if name not in names:
            content = Path(name).read_bytes()
            names[name] = hashlib.sha256(content).hexdigest()
            fresh[names[name]] = base64.b64encode(content).decode()
        return names[name]

    for start in range(0, len(trials), PIECE):
        piece = with_trace_paths(trials[start : start + PIECE], by_digest)
        yield Plan(trials=piece, traces=dict(fresh))
        fresh.clear()


def kept(done: Done, evidence: bytes, folder: Path, host: str) -> Done:
    """Return a trial's end when its evidence lies in its folder.

    Raises:
        StorageError: the folder cannot be written.
    """
    try:
        with storage_errors(folder):
            unpack(evidence, folder)
    except LabError as error:
        return Done(outcome="error", error=f"host {host}: {error}")
    return done


def heard_from(name: str, on_step: OnStep) -> OnStep:
    """Return what hears a host's steps: its name stands before each, but for the one by which a trial begins."""

    def heard(text: str) -> None:
        if text == STARTING:
            on_step(STARTING)
        on_step(f"{name}: {text}")

    return heard


def with_earlier(found: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Return what became of a host's processors, with the time for which they were taken away in earlier rounds."""
    if "stolen_s" not in found:
        return found
    return {**found, "stolen_s": round(found["stolen_s"] + before.get("stolen_s", 0.0), 2)}
