"""The host contract: a machine that runs trials. The campaign talks only to a host; only JSON and files cross."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from harness.trial.messages import Done, Job

OnStep = Callable[[str], None]

# Facts of a machine that may differ from one hour to the next on the very same machine.
PASSING = frozenset({"load_1min"})


class HostFacts(BaseModel):
    """What a result depends on besides the scenario: the machine, the programs on it, the harness that runs there.

    `machine` is as of `harness.machine.describe.describe_machine`, versions are by name; None where a program is
    missing or does not say. `link_backend` is what `links: auto` comes to there; None where the host does not say.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    commit: str | None
    privileged: bool
    machine: dict[str, Any]
    tool_versions: dict[str, str | None]
    overlay_versions: dict[str, str | None]
    link_backend: str | None = None

    @property
    def id(self) -> str:
        """A short name of these facts: equal facts have equal names, on whichever day they were gathered."""
        facts = self.model_dump(mode="json")
        facts["machine"] = {key: value for key, value in facts["machine"].items() if key not in PASSING}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


class Host(Protocol):
    """A machine that runs jobs, several at a time, each in a sandbox that ends with the host."""

    @property
    def slots(self) -> int:
        """How many jobs it takes at a time; a further one would only wait."""

    def describe(self) -> HostFacts:
        """Return what it is; asked once, before the first job."""

    async def run(self, job: Job, folder: Path, on_step: OnStep) -> Done:
        """Run a job and leave its evidence in `folder`, which exists and is empty.

        `on_step` hears what the trial does, for the first time when it begins. Cancelling ends the trial's sandbox.

        Raises:
            StorageError: the folder cannot be written.
        """

    async def close(self) -> None:
        """End everything that still runs."""
