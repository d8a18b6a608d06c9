"""The messages between orchestrator and worker: one JSON object a line, over the worker's stdin and stdout."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from harness.model.probes import Turn
from harness.model.trial import Trial
from harness.model.words import Outcome
from harness.overlay.contract import Deployment

__all__ = ["Done", "Job", "Step", "Turn", "WantTurn"]


# What answers a worker that wants a turn, in a line of its own.
GRANTED: Final = "granted"
# How steps begin that a user must see, and those that are true for a second alone (`run --live`).
PAUSED: Final = "paused"
NOW: Final = "now"
# How often one thing is measured before late links are given up on. A host that takes the processors away for a moment
# does so now and then; one that does so all the time is no place to measure.
ATTEMPTS = 3


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Job(_Strict):
    """Everything a worker gets; written to the trial's folder as job.json, where it is evidence as well.

    After an outcome of `pause_on` the lab is left standing until its user lets it go on (`harness.trial.pause`); with
    `live` the worker also says what happens, in its steps.
    """

    trial: Trial
    deployment: Deployment
    pause_on: tuple[Outcome, ...] = ()
    live: bool = False


class WantTurn(_Strict):
    """The worker gives back the present turn and waits for another one. Answered by the line GRANTED."""

    kind: Literal["want"] = "want"
    turn: Turn


class Step(_Strict):
    """What the worker does now, for the progress display. `waits`: for its user, as long as that takes."""

    kind: Literal["step"] = "step"
    text: str
    waits: bool = False


class Done(_Strict):
    """The worker's end. `measurements` are `harness.probes.measurement.Measurement` as mappings, paths relative."""

    kind: Literal["done"] = "done"
    outcome: Outcome
    error: str | None = None
    measurements: list[dict[str, Any]] = []
    nat_observed: dict[str, str] = {}
    link_backend: str = "none"
    link_accounts: str | None = None
    claims: dict[str, str] = {}
    sysctls: dict[str, str] = {}
    cannot_write: str | None = None
    """The machine ran out of what every other trial needs as well (disk, open files), in a line."""


def longest_silence_s(trial: Trial) -> float:
    """Return how long a trial's probes may rightly say nothing, in s: all pairs, both networks, every attempt."""
    pairs = len(trial.topology.members) * (len(trial.topology.members) - 1) // 2
    return ATTEMPTS * 2 * pairs * trial.probes.own_time_s()
