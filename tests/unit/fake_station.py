"""A real station on a machine that only pretends: `python fake_station.py [--facts JSON] [station's options]`.

A trial takes FAKE_TRIAL_S seconds, and comes to figures that its seed alone decides and FAKE_EVIDENCE bytes besides.
Where the folder FAKE_FULL exists the disk is full.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.hosts import serving, station
from harness.hosts.contract import STARTING, HostFacts, OnStep
from harness.machine.describe import code_digest, harness_commit
from harness.trial.messages import Done, Job

TRIAL_S = float(os.environ.get("FAKE_TRIAL_S", "0"))
EVIDENCE = int(os.environ.get("FAKE_EVIDENCE", "0"))
FULL = Path(os.environ.get("FAKE_FULL", "/nonexistent"))
CHANGES: dict[str, Any] = {}


class PretendingHost:
    """Stands for a `LocalHost`."""

    def __init__(self, **_: object) -> None: ...

    def describe(self) -> HostFacts:
        commit = harness_commit()
        python = ".".join(map(str, sys.version_info[:3]))
        facts: dict[str, Any] = {"machine": {"kernel": "6", "python": python}, "tool_versions": {"nft": "1"}}
        facts |= {"commit": commit, "code": code_digest(commit), "privileged": False, "overlay_versions": {}}
        return HostFacts.model_validate({**facts, **CHANGES})

    def lacking(self, _overlays: object) -> dict[str, str]:
        return {}

    def require(self, trials: object, overlays: object) -> None: ...

    @contextlib.contextmanager
    def measuring(self) -> Iterator[dict[str, Any]]:
        found: dict[str, Any] = {}
        yield found
        found["virtual"] = False

    async def run(self, job: Job, folder: Path, on_step: OnStep) -> Done:
        on_step(STARTING)
        on_step("measuring")
        (folder / "job.json").write_text(job.model_dump_json())
        await asyncio.sleep(TRIAL_S)
        if FULL.exists():
            return Done(outcome="failed", error="no room", cannot_write="no space left on device")
        (folder / "seed.log").write_text(str(job.trial.seed))
        if EVIDENCE:
            (folder / "more.log").write_bytes(bytes(EVIDENCE))
        return done_of(job.trial.seed)

    async def close(self) -> None: ...


def done_of(seed: int) -> Done:
    """Return what a trial of this seed comes to."""
    figure = {"probe": "path", "metric": "time_to_connect_s", "unit": "s", "value": float(seed % 1000)}
    return Done(outcome="ok", measurements=[{**figure, "src": "a", "dst": "b", "evidence": "seed.log"}])


def pretend(*_: object) -> dict[str, Any]:
    """Stand for the calibration; a host that is told so fails it."""
    return {"ok": "FAKE_BROKEN" not in os.environ, "nat": {"cases": 1, "wrong": "full-cone: APDF"}}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--facts"]:
        CHANGES.update(json.loads(sys.argv[2]))
        del sys.argv[1:3]
    serving.standing = lambda: None  # several pretend to be machines of their own
    serving.LocalHost = PretendingHost  # type: ignore[misc,assignment]
    serving.calibrate.calibrate = pretend
    station.main()
