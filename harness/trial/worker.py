"""The process of one trial: forked by the fork server into a sandbox of its own, where the trial's steps run.

The trial's folder holds job.json and takes the evidence.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from dataclasses import asdict, replace
from pathlib import Path

from harness.errors import OverlaybenchError
from harness.overlay.search_path import search_path
from harness.probes.measurement import Measurement
from harness.probes.registry import probes
from harness.sandbox.mounts import make_private
from harness.sandbox.unshare import run_as_init_check
from harness.timeline.registry import events
from harness.trial.deploy import RunningOverlay
from harness.trial.exhaustion import exhausted
from harness.trial.ground import LabGround
from harness.trial.messages import GRANTED, Done, Job, Step, Turn, WantTurn
from harness.trial.pause import Pauses
from harness.trial.schedule import Schedule
from harness.trial.steps import TrialRun


class Channel:
    """The worker's side of the conversation; whatever libraries print goes to stderr instead."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        self._one_at_a_time = threading.Lock()
        os.dup2(2, 1)

    def say(self, message: Step | WantTurn | Done) -> None:
        """Send one message."""
        with self._one_at_a_time:
            self._out.write(message.model_dump_json() + "\n")

    def want(self, turn: Turn) -> None:
        """Give back the present turn and wait for another; an orchestrator that is gone ends the trial."""
        self.say(WantTurn(turn=turn))
        if sys.stdin.readline().strip() != GRANTED:
            raise SystemExit(1)


def work(folder: Path, spawned: float) -> None:
    """Run the job in `folder` and report; called as PID 1 of a sandbox, `spawned` is Unix time."""
    run_as_init_check()
    os.environ["PATH"] = search_path()
    channel = Channel()
    os.chdir(folder)
    job = Job.model_validate_json((folder / "job.json").read_text())
    try:
        ground, run, pauses = _prepared(job, folder, spawned, channel)
    except OverlaybenchError as failure:
        told = Done(outcome=failure.outcome, error=str(failure), cannot_write=exhausted(folder))  # type: ignore[arg-type]
        channel.say(told)
        return
    except OSError as failure:
        _trace()
        channel.say(Done(outcome="error", error=str(failure), cannot_write=exhausted(folder, failure)))
        return
    outcome, error, cannot_write = "ok", None, None
    try:
        run.run()
    except OverlaybenchError as failure:
        outcome, error, cannot_write = failure.outcome, str(failure), exhausted(folder)
    except OSError as failure:
        _trace()
        outcome, error, cannot_write = "error", str(failure), exhausted(folder, failure)
    except Exception as failure:  # the orchestrator must hear of it, whatever it is
        _trace()
        outcome, error, cannot_write = "error", f"{type(failure).__name__}: {failure}", exhausted(folder)
    pauses.after(outcome, error)
    channel.say(
        Done(
            outcome=outcome,  # type: ignore[arg-type]
            error=error,
            measurements=[asdict(_relative(one, folder)) for one in run.measurements],
            nat_observed=run.nat_observed,
            link_backend=ground.link_backend,
            link_accounts=None if ground.links is None else ", ".join(ground.links.accounts_for) or "nothing",
            claims=run.claims,
            sysctls=ground.sysctls,
            cannot_write=cannot_write,
        )
    )


def _prepared(job: Job, folder: Path, spawned: float, channel: Channel) -> tuple[LabGround, TrialRun, Pauses]:
    make_private(folder)
    ground = LabGround(job.trial, folder)
    overlay = RunningOverlay(ground.lab, job.deployment, folder)
    pauses = Pauses(
        job.pause_on,
        folder,
        say=channel.say,
        nodes=lambda: {} if ground.lab.net is None else {name: node.pid for name, node in ground.lab.nodes.items()},
    )
    timeline = Schedule(job.trial.timeline, events() if job.trial.timeline else {}, ground.lab, overlay, folder)
    run = TrialRun(
        job,
        folder,
        channel=channel,
        spawned=spawned,
        ground=ground,
        overlay=overlay,
        probes=probes(),
        timeline=timeline,
        pause=lambda failure: pauses.after(failure.outcome, str(failure)),
    )
    return ground, run, pauses


def _trace() -> None:
    # The log may lie on the very disk that is full: then the outcome alone tells.
    with contextlib.suppress(OSError):
        traceback.print_exc()


def _relative(measurement: Measurement, folder: Path) -> Measurement:
    if measurement.evidence is None:
        return measurement
    return replace(measurement, evidence=str(Path(measurement.evidence).relative_to(folder)))
