"""The host contract: a machine that runs trials. The campaign talks only to a host; only JSON and files cross."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from harness.model.trial import Trial
from harness.overlay.contract import Overlay
from harness.trial.messages import Done, Job

OnStep = Callable[[str], None]

# Facts of a machine that may differ from one hour to the next on the very same machine.
PASSING = frozenset({"load_1min"})


class HostFacts(BaseModel):
    """What a result depends on besides the scenario: the machine, the programs on it, the harness that runs there.

    `machine` is as of `harness.machine.describe.describe_machine`, versions are by name; None where a program is
    missing or does not say. `link_backend` is what `links: auto` comes to there; None where the host does not say.
    `name` tells twins apart; `code` is a digest of the program's files where the commit does not tell what runs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    commit: str | None
    privileged: bool
    machine: dict[str, Any]
    tool_versions: dict[str, str | None]
    overlay_versions: dict[str, str | None]
    link_backend: str | None = None
    name: str | None = None
    code: str | None = None

    @property
    def id(self) -> str:
        """A short name of these facts: equal facts have equal names, on whichever day they were gathered."""
        facts = self.model_dump(mode="json")
        facts["machine"] = {key: value for key, value in facts["machine"].items() if key not in PASSING}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


# In a trial's folder: for each of its loads, in order, how busy others kept the machine when it began.
BUSY_FILE: Final = "busy.json"
# The first that `on_step` hears of a trial; heard again, the trial has begun anew, on another host say.
STARTING: Final = "starting"


class Host(Protocol):
    """A machine that runs jobs, several at a time, each in a sandbox that ends with the host."""

    @property
    def slots(self) -> int:
        """How many jobs it takes at a time; a further one would only wait."""

    def describe(self) -> HostFacts:
        """Return what it is; asked once, before the first job."""

    def lacking(self, overlays: Mapping[str, Overlay]) -> dict[str, str]:
        """Return, by the name of each of these overlays whose programs it lacks, what is missing and how to get it."""

    def require(self, trials: Sequence[Trial], overlays: Mapping[str, Overlay]) -> None:
        """Check that it can run these trials of these overlays; asked once, before the first job.

        Raises:
            MissingPrerequisite: names all that is missing and one command that gets it.
        """

    def measuring(self) -> AbstractContextManager[dict[str, Any]]:
        """Be ready to measure while the block runs.

        After its end the mapping tells what became of the processors (`processors` of the manifest); it is empty where
        the host does not say.
        """

    async def run(self, job: Job, folder: Path, on_step: OnStep) -> Done:
        """Run a job and leave its evidence in `folder`, which exists and is empty.

        `on_step` hears what the trial does, STARTING when it begins. Cancelling ends the trial's sandbox.

        Raises:
            StorageError: the folder cannot be written.
        """

    async def close(self) -> None:
        """End everything that still runs."""


@runtime_checkable
class ManyHosts(Host, Protocol):
    """Several machines as one host; it says itself which trial may run next. It is described after `require` alone."""

    def resume(self, ran: Iterable[tuple[Trial, str]]) -> None:
        """Take into account on which hosts, by their ids, trials ran in an earlier part of the run, in order."""

    def choose(self, waiting: Iterable[Trial]) -> Trial | None:
        """Return the first of these trials that there is a place for now; the place is its own until `leave`.

        Raises:
            LabError: there will be no place any more.
        """

    def leave(self, trial: Trial) -> None:
        """Give a chosen trial's place back."""

    async def changed(self) -> None:
        """Wait until there may be a place that there was not."""

    def ran_on(self, trial: Trial) -> HostFacts:
        """Return on which machine a trial ran at last."""

    def account(self) -> dict[str, Any]:
        """Return what the manifest is to say: `hosts` by id, `hosts_refused` by name, `hosts_lost`: each time."""

    def release(self) -> None:
        """Let the machines go; nothing is asked of it any more."""
