"""From a population to a result folder: worlds in processes side by side, records in the plan's order."""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from harness.errors import Problem, ScenarioError, storage_errors
from harness.machine.describe import describe_machine, harness_commit
from harness.results.files import write_atomically
from harness.results.record import SCHEMA_VERSION, Record
from harness.results.store import RunFolder
from harness.results.times import utc_now
from harness.simulation.churn import Sample, as_csv, run_churn
from harness.simulation.contract import engine_version, engines
from harness.simulation.describe import described
from harness.simulation.emulated import emulated_cells
from harness.simulation.load import LoadedPopulation
from harness.simulation.plan import Plan
from harness.simulation.population import Population
from harness.simulation.records import label_of, records_of
from harness.simulation.world import run_world

CHURN = "churn.csv"
BATCH = 64
"""Worlds whose records are written together."""
POPULATION = "population.json"


class Progress(Protocol):
    """Where the run says how far it is."""

    def advance(self, worlds: int) -> None:
        """So many more worlds are on the disk."""


class Worker:
    """Runs worlds by number; made once in each process."""

    def __init__(self, run: str, loaded: LoadedPopulation) -> None:
        self.run, self.loaded = run, loaded
        self.plan = Plan(loaded.name, loaded.population)
        self.engine = engines()[loaded.population.engine]

    def __call__(self, number: int) -> list[Record]:
        """Return the records of one world."""
        world = self.plan.world(number)
        result = run_world(self.plan.spec(world), self.engine)
        return records_of(self.run, self.loaded.name, self.loaded.population, world, result)


_worker: Worker


def _begin(run: str, loaded: LoadedPopulation) -> None:
    global _worker  # noqa: PLW0603  # how multiprocessing gives a process its state
    _worker = Worker(run, loaded)


def _work(number: int) -> list[Record]:
    return _worker(number)


def prepare(
    loaded: LoadedPopulation, out: Path, *, resume: bool, emulated: Path | None = None
) -> tuple[RunFolder, list[int]]:
    """Return the result folder, begun or gone on with, and the numbers of the worlds that are left.

    `emulated` is a result folder of a lab that has the same cells, to be held against the simulated ones.

    Raises:
        ScenarioError: the folder was made from another population, by another commit or another engine.
        ResultFolderError: there are results already, and `resume` was not asked for.
    """
    folder = RunFolder(out)
    plan = Plan(loaded.name, loaded.population)
    with storage_errors(out):
        if resume and folder.manifest_path.exists():
            manifest = folder.manifest()
            same = (manifest.get("scenario_sha256"), manifest.get("seed"), len(folder.plan()))
            if same != (_sha256(loaded), loaded.population.seed, len(plan)):
                text = f"{out} was made from another population, seed or number of worlds; use another --out"
                raise ScenarioError([Problem(loaded.document.file, 0, "--resume", text)])
            if changed := list(_differences(manifest, loaded)):
                text = f"{out} was made with {'; '.join(changed)}; use another --out"
                raise ScenarioError([Problem(loaded.document.file, 0, "--resume", text)])
            finished = folder.finished_trials()
            return folder, [number for number, world in enumerate(plan) if world.id not in finished]
        entries = [
            {
                "id": world.id,
                "seed": world.seed,
                "overlay": loaded.population.engine,
                "mode": "mesh",
                "repeat": world.repeat,
                "params": world.condition.params,
                "nats": [label_of(loaded.population.access[name]) for name in world.names],
            }
            for world in plan
        ]
        lab = emulated_cells(emulated) if emulated is not None else ()
        folder.create(_manifest(loaded), entries)
        text = json.dumps(described(loaded, lab), indent=1, ensure_ascii=False) + "\n"
        write_atomically(out / POPULATION, text.encode())
    return folder, list(range(len(plan)))


def simulate(loaded: LoadedPopulation, folder: RunFolder, left: Sequence[int], jobs: int, progress: Progress) -> None:
    """Run the worlds that are left. What is written stays when this is interrupted.

    Raises:
        StorageError: the folder cannot be written.
    """
    run = str(folder.manifest()["run"])
    with storage_errors(folder.path), _results(run, loaded, left, jobs) as found:
        while batch := list(itertools.islice(found, BATCH)):
            folder.extend(batch)
            progress.advance(len(batch))
    with storage_errors(folder.path):
        _write_churn(loaded, folder.path / CHURN, jobs)
        manifest = folder.manifest()
        manifest["ended_at"] = utc_now()
        folder.write_manifest(manifest)
    folder.close()


@contextmanager
def _results(run: str, loaded: LoadedPopulation, left: Iterable[int], jobs: int) -> Iterator[Iterator[list[Record]]]:
    """Return what the worlds come to, in the order of their numbers, however many run side by side."""
    if jobs == 1:
        yield map(Worker(run, loaded), left)
        return
    with multiprocessing.get_context("fork").Pool(jobs, _begin, (run, loaded)) as pool:
        yield pool.imap(_work, left, chunksize=8)


def _write_churn(loaded: LoadedPopulation, path: Path, jobs: int) -> None:
    churn = loaded.population.churn
    if churn is None or path.exists():
        return
    numbers = range(churn.networks)
    if jobs == 1:
        found = [_churn(loaded, number) for number in numbers]
    else:
        with multiprocessing.get_context("fork").Pool(jobs) as pool:
            found = list(pool.imap(partial(_churn, loaded), numbers))
    samples = [sample for network in found for sample in network]
    write_atomically(path, as_csv(samples, head=True).encode())


def _churn(loaded: LoadedPopulation, number: int) -> list[Sample]:
    population = loaded.population
    assert population.churn is not None
    return run_churn(population, population.churn, number, engines()[population.engine])


def _manifest(loaded: LoadedPopulation) -> dict[str, Any]:
    population = loaded.population
    digest = _sha256(loaded)
    return {
        "schema": SCHEMA_VERSION,
        # A run of the same population is the same run, wherever and whenever.
        "run": hashlib.sha256(f"{digest}/{population.seed}".encode()).hexdigest()[:12],
        "engine": "simulated",
        "scenario": loaded.name,
        "scenario_file": loaded.document.file,
        "scenario_text": loaded.text,
        "scenario_sha256": digest,
        "description": population.description,
        "topology": "population",
        "seed": population.seed,
        "repeats": population.worlds,
        "command": ["overlaybench", *sys.argv[1:]],
        "started_at": utc_now(),
        "overlaybench_version": version("overlaybench"),
        **_programs(population),
        "machine": describe_machine(),
    }


def _programs(population: Population) -> dict[str, str | None]:
    """Return what computes a world besides its population; the keys are the manifest's."""
    return {"overlaybench_commit": harness_commit(), "engine_version": engine_version(population.engine)}


def _differences(manifest: Mapping[str, Any], loaded: LoadedPopulation) -> Iterator[str]:
    """Yield what worlds were computed by when the folder was begun, as far as its manifest tells, and no longer are."""
    for key, now in _programs(loaded.population).items():
        if key in manifest and manifest[key] != now:
            yield f"another {_NAMES[key]} ({manifest[key]}, now {now})"


_NAMES = {"overlaybench_commit": "commit of overlaybench", "engine_version": "engine"}


def _sha256(loaded: LoadedPopulation) -> str:
    return hashlib.sha256(loaded.text.encode()).hexdigest()
