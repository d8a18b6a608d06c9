"""Worlds run by other machines: text goes, bytes come back. They are computed, not measured, and need no station."""

from __future__ import annotations

import json
import platform
import struct
from collections.abc import Generator, Sequence
from functools import cache
from typing import Any

from harness.errors import MissingPrerequisite
from harness.hosts.scheduler import connected
from harness.machine.describe import code_digest, harness_commit
from harness.model.document import Document
from harness.simulation.contract import overlay_version
from harness.simulation.load import LoadedPopulation
from harness.simulation.population import Population
from harness.simulation.working import Worker, network_lines

BATCH = 32
"""Worlds of one task: a scheduler takes some milliseconds for each."""


def results_from(
    address: str, run: str, loaded: LoadedPopulation, left: Sequence[int], label: str
) -> Generator[str, None, None]:
    """Yield the lines of worlds in the order of their numbers, from a scheduler's workers.

    A lost worker's worlds are computed again by others: a world is the same wherever it runs.

    Raises:
        MissingPrerequisite: nothing answers there, or another program does.
        RuntimeError: a world failed there, which is the program's fault and no host's.
        ScenarioError: the address is no scheduler's, or one that is not safe.
    """
    version = overlay_version(loaded.population.engine)
    shared = {"what": "worlds", "run": run, "name": loaded.name, "version": version}
    batches = [left[start : start + BATCH] for start in range(0, len(left), BATCH)]
    yield from _answers(address, loaded, [{**shared, "numbers": list(batch)} for batch in batches], label)


def networks_from(
    address: str, loaded: LoadedPopulation, numbers: Sequence[int], label: str
) -> Generator[str, None, None]:
    """Yield the lines of networks over time in the order of their numbers, a task each. Raises as `results_from`."""
    yield from _answers(address, loaded, [{"what": "networks", "numbers": [number]} for number in numbers], label)


def _answers(
    address: str, loaded: LoadedPopulation, tasks: Sequence[dict[str, Any]], label: str
) -> Generator[str, None, None]:
    shared = {"population": loaded.population.model_dump(mode="json"), **_program()}
    with connected(address, label) as link:
        for said in link.map(work_on, [json.dumps({**shared, **task}) for task in tasks]):
            answer = json.loads(said)
            if isinstance(answer, dict):
                raise MissingPrerequisite(str(answer["error"]), "the same commit and Python on every host")
            yield from answer


def work_on(text: str) -> bytes:
    """Return the lines of each world of a batch, or of each network over time, in JSON; called on the worker."""
    said = json.loads(text)
    mine = _program()
    if differs := [f"{key} there is {mine[key]}, here {said.get(key)}" for key in mine if mine[key] != said.get(key)]:
        return json.dumps({"error": f"overlaybench on the hosts is another: {'; '.join(differs)}"}).encode()
    return json.dumps(_lines_of(said)).encode()


def _lines_of(said: dict[str, Any]) -> list[Any]:
    if said["what"] == "networks":
        population = Population.model_validate(said["population"])
        return [network_lines(population, number) for number in said["numbers"]]
    worker = _worker(said["run"], said["name"], json.dumps(said["population"]), said["version"])
    return [worker(number) for number in said["numbers"]]


@cache
def _worker(run: str, name: str, population: str, version: str | None) -> Worker:
    loaded = LoadedPopulation(name, Population.model_validate_json(population), Document("", {}), "")
    return Worker(run, loaded, version)


@cache
def _program() -> dict[str, str | None]:
    """Return what a world hangs on besides its population, by name.

    Python's own version counts: what servers remember is its objects (`harness.simulation.state`), whose sizes differ.
    """
    commit = harness_commit()
    python = f"{platform.python_implementation()} {platform.python_version()}, {8 * struct.calcsize('P')} bit"
    return {"commit": commit, "code": code_digest(commit), "python": python}
