"""From a population to a result folder: worlds in processes side by side, records in the plan's order."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.errors import Problem, ScenarioError, storage_errors
from harness.machine.describe import describe_machine, harness_commit
from harness.results.files import write_atomically
from harness.results.record import SCHEMA_VERSION
from harness.results.store import RunFolder
from harness.results.times import utc_now
from harness.simulation.contract import engine_version, overlay_version
from harness.simulation.describe import described
from harness.simulation.emulated import emulated_cells
from harness.simulation.load import LoadedPopulation
from harness.simulation.networks import write_churn
from harness.simulation.plan import Plan
from harness.simulation.population import Population
from harness.simulation.records import label_of
from harness.simulation.workers import Progress, worlds

CHURN = "churn.csv"
BATCH = 64
"""Worlds whose records are written together."""
POPULATION = "population.json"


def prepare(
    loaded: LoadedPopulation,
    out: Path,
    *,
    resume: bool,
    emulated: Path | None = None,
    labels: Mapping[str, str] | None = None,
) -> tuple[RunFolder, Sequence[int]]:
    """Return the result folder, begun or gone on with, and the numbers of the worlds that are left.

    `emulated` is a result folder of a lab that has the same cells, to be held against the simulated ones; `labels` say
    what the run is of (`trend`).

    Raises:
        ScenarioError: the folder was made from another population, by another commit or another engine.
        ResultFolderError: there are results already, and `resume` was not asked for; or the lab waited for a shorter
            time than the population does.
    """
    folder = RunFolder(out)
    # First: what is refused should leave no folder behind.
    lab = emulated_cells(emulated, loaded.population.deadline_s) if emulated is not None else None
    plan = Plan(loaded.population)
    with storage_errors(out):
        if resume and folder.manifest_path.exists():
            manifest = folder.manifest()
            planned = manifest["worlds"] if "worlds" in manifest else len(folder.plan())
            same = (manifest.get("scenario"), manifest.get("scenario_sha256"), manifest.get("seed"), planned)
            if same != (loaded.name, _sha256(loaded), loaded.population.seed, len(plan)):
                text = f"{out} was made from another population, name, seed or number of worlds; use another --out"
                raise ScenarioError([Problem(loaded.document.file, 0, "--resume", text)])
            if changed := list(_differences(manifest, loaded, labels or {})):
                text = f"{out} was made with {'; '.join(changed)}; use another --out"
                raise ScenarioError([Problem(loaded.document.file, 0, "--resume", text)])
            _describe(loaded, out, lab)
            finished = folder.finished_trials()
            return folder, [number for number, world in enumerate(plan) if world.id not in finished]
        entries = (
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
        )
        folder.create(_manifest(loaded) | {"worlds": len(plan)} | ({"labels": dict(labels)} if labels else {}), entries)
        _describe(loaded, out, lab)
    return folder, range(len(plan))


def _describe(loaded: LoadedPopulation, out: Path, lab: Sequence[Mapping[str, Any]] | None) -> None:
    """Write population.json; without a lab's cells it has those that it had."""
    path = out / POPULATION
    if lab is None:
        lab = json.loads(path.read_bytes())["emulated"] if path.exists() else ()
    text = json.dumps(described(loaded, lab), indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode())


def simulate(
    loaded: LoadedPopulation,
    folder: RunFolder,
    left: Sequence[int],
    jobs: int,
    progress: Progress,
    *,
    hosts: str | None = None,
) -> None:
    """Run the worlds that are left, here or by the workers of a scheduler. What is written stays when interrupted.

    Raises:
        MissingPrerequisite, ScenarioError: see `results_from`.
        StorageError: the folder cannot be written.
    """
    run = str(folder.manifest()["run"])
    with storage_errors(folder.path), worlds(run, loaded, left, jobs, hosts) as found:
        while batch := list(itertools.islice(found, BATCH)):
            folder.write(batch)
            progress.advance(len(batch))
    with storage_errors(folder.path):
        write_churn(loaded, folder.path / CHURN, jobs, progress, hosts=hosts)
        manifest = folder.manifest()
        manifest["ended_at"] = utc_now()
        folder.write_manifest(manifest)
    folder.close()


def _manifest(loaded: LoadedPopulation) -> dict[str, Any]:
    population = loaded.population
    digest = _sha256(loaded)
    return {
        "schema": SCHEMA_VERSION,
        # A run of the same population by the same programs is the same run, wherever and whenever.
        "run": _run_id(population, digest),
        "engine": "simulated",
        "scenario": loaded.name,
        "scenario_file": loaded.document.file,
        "scenario_text": loaded.text,
        "scenario_sha256": digest,
        "description": population.description,
        "topology": "population",
        "links": _links(population),
        "seed": population.seed,
        "repeats": population.worlds,
        "command": ["overlaybench", *sys.argv[1:]],
        "started_at": utc_now(),
        "overlaybench_version": version("overlaybench"),
        **_programs(population),
        "overlay_versions": {population.engine: overlay_version(population.engine)},
        "machine": describe_machine(),
    }


def _links(population: Population) -> str:
    """Return the links of all types of access, as people read them."""
    links = [access.link for access in population.access.values()]
    words = [_range([link.delay_ms for link in links], "ms one way")]
    words += [_range([link.jitter_ms for link in links], "ms jitter")] if any(link.jitter_ms for link in links) else []
    words += (
        [_range([link.loss_percent for link in links], "% lost")] if any(link.loss_percent for link in links) else []
    )
    return f"by type of access: {', '.join(words)}"


def _range(values: Sequence[float], unit: str) -> str:
    low, high = min(values), max(values)
    return f"{low:g} {unit}" if low == high else f"{low:g} to {high:g} {unit}"


def _run_id(population: Population, digest: str) -> str:
    """Return the same for the same worlds by the same programs: options may have changed what the file says."""
    told = [digest, population.model_dump(mode="json"), _programs(population)]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def _programs(population: Population) -> dict[str, str | None]:
    """Return what computes a world besides its population; the keys are the manifest's."""
    return {"overlaybench_commit": harness_commit(), "engine_version": engine_version(population.engine)}


def _differences(manifest: Mapping[str, Any], loaded: LoadedPopulation, labels: Mapping[str, str]) -> Iterator[str]:
    """Yield what worlds were computed by when the folder was begun, as far as its manifest tells, and no longer are.

    Labels that are not given again stay what they were.
    """
    before = manifest.get("labels") or {}
    for key, value in labels.items():
        if before.get(key) != value:
            yield f"another label {key} ({before.get(key, 'none')}, now {value})"
    for key, now in _programs(loaded.population).items():
        if key in manifest and manifest[key] != now:
            yield f"another {_NAMES[key]} ({manifest[key]}, now {now})"


_NAMES = {"overlaybench_commit": "commit of overlaybench", "engine_version": "engine"}


def _sha256(loaded: LoadedPopulation) -> str:
    return hashlib.sha256(loaded.text.encode()).hexdigest()
