"""A run: from planned trials to a finished result folder. Shows nothing but progress; the command reports."""

from __future__ import annotations

import datetime
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.campaign.campaign import Campaign, Tally
from harness.campaign.manifest import differences, new_manifest, require_same_plan
from harness.campaign.progress import progress_for
from harness.campaign.shards import Shard, description, trials_of
from harness.errors import Problem, ScenarioError, storage_errors
from harness.hosts.contract import Host, HostFacts
from harness.hosts.registry import kind_of
from harness.machine.processors import is_virtual, processors_awake, stolen_s
from harness.machine.requirements import require_for
from harness.machine.skipping import not_installed
from harness.model.trial import Trial
from harness.results.expectations import Expected
from harness.results.run_judgement import RunJudgement, judge_run
from harness.results.store import RunFolder
from harness.results.times import utc_now
from harness.scenario.planned import Planned
from harness.scenario.traces import keep_traces


@dataclass(frozen=True)
class RunOptions:
    """What the command line says about a run besides the scenario.

    `accept_changes` lets a resumed run go on although machine, programs or topology are not what they were; `hosts` is
    where the trials run, None for this machine; `shard` is the part of the plan that runs here, None for all of it.
    """

    out: Path | None = None
    jobs: int | None = None
    only: Mapping[str, Sequence[str]] = field(default_factory=dict)
    resume: bool = False
    accept_changes: bool = False
    hosts: str | None = None
    shard: Shard | None = None


@dataclass(frozen=True)
class RunResult:
    """A run that ended: its folder, what its trials came to, how many were planned and were there before."""

    folder: RunFolder
    tally: Tally
    planned: int
    before: int
    judgement: RunJudgement

    @property
    def done(self) -> int:
        """Trials whose results are in the folder."""
        return self.before + sum(self.tally.outcomes.values())


def run_trials(planned: Planned, options: RunOptions, console: Console) -> RunResult:
    """Run all that is left of a plan.

    Raises:
        OverlaybenchError: nothing was run: wrong input, or the machine lacks something.
        StorageError: the result folder could not be written; what was written stays, `--resume` goes on.
    """
    planned, skipped = without_missing(planned)
    for name, why in skipped.items():
        console.print(f"skipped: {name}, {why}", style="yellow", markup=False, soft_wrap=True)
    part, described = _part_of(planned, options.shard)
    described = {**described, **({"skipped": skipped} if skipped else {})}
    require_for(part.trials, part.overlays)
    out = options.out or Path("runs") / f"{planned.loaded.name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    folder = RunFolder(out)
    try:
        with storage_errors(out):
            return _run(part, options, folder, console, described)
    finally:
        folder.close()


def without_missing(planned: Planned) -> tuple[Planned, dict[str, str]]:
    """Return the plan without overlays that this machine lacks, where the scenario lets them be skipped; and why."""
    if planned.loaded.scenario.not_installed == "refuse":
        return planned, {}
    skipped = not_installed(planned.overlays)
    overlays = {name: overlay for name, overlay in planned.overlays.items() if name not in skipped}
    if not overlays.keys() - {"underlay"}:
        return planned, {}  # nothing would be left to measure: what is missing is told with its remedy
    trials = [trial for trial in planned.trials if trial.overlay in overlays]
    return replace(planned, trials=trials, overlays=overlays), skipped


def _part_of(planned: Planned, shard: Shard | None) -> tuple[Planned, dict[str, Any]]:
    """Return the trials that run here, and what the manifest says of the whole plan."""
    if shard is None:
        return planned, {}
    if planned.loaded.scenario.until is not None:
        text = "a scenario with `until` has no shards: each would stop by its own figures alone"
        raise ScenarioError([planned.loaded.document.problem(("until",), text)])
    trials, places = trials_of(planned.trials, shard)
    if not trials:
        blocks = len({trial.seed for trial in planned.trials})
        text = f"{shard} is empty: the plan has {blocks} blocks of trials that stay together"
        raise ScenarioError([Problem(planned.loaded.document.file, 0, "--shard", text)])
    named = {trial.overlay for trial in trials}
    overlays = {name: overlay for name, overlay in planned.overlays.items() if name in named}
    described = {"shard": description(planned.trials, shard, places)}
    return Planned(planned.loaded, trials, overlays), described


def _run(
    planned: Planned, options: RunOptions, folder: RunFolder, console: Console, described: Mapping[str, Any]
) -> RunResult:
    jobs = options.jobs or 4 * (os.cpu_count() or 1)
    kind = kind_of(options.hosts)

    def new_host() -> Host:
        return kind.open(options.hosts, label=str(folder.path), jobs=jobs, overlays=planned.overlays)

    facts = new_host().describe()
    trials, manifest, finished = _begin(planned, options, folder, facts, described)
    left = [trial for trial in trials if trial.id not in finished]
    if finished:
        console.print(f"{len(finished)} of {len(trials)} trials are there already", highlight=False)

    def run(part: Sequence[Trial]) -> Tally:
        with progress_for(console, len(part)) as progress:
            return Campaign(
                folder=folder,
                run=str(manifest["run"]),
                overlays=planned.overlays,
                host=new_host(),
                facts=facts,
                progress=progress,
            ).run(part)

    stolen_before_s = stolen_s()
    with processors_awake() as mechanism:
        until = planned.loaded.scenario.until
        if until is None:
            tally = run(left)
        else:
            from harness.campaign.rounds import run_in_rounds  # noqa: PLC0415  # scipy is slow to load

            tally, manifest["until"] = run_in_rounds(trials, left, until, read=lambda: folder.read().records, run=run)
    manifest["ended_at"] = utc_now()
    manifest["processors"] = {
        "virtual": is_virtual(),
        "kept_awake": mechanism,
        "stolen_s": round(stolen_s() - stolen_before_s, 2),
    }
    # "none" is a lab without impaired links; a trial that never had a lab has no sysctls.
    manifest["link_backends"] = sorted({*tally.instruments, *manifest.get("link_backends", ())})
    manifest["lab_sysctls"] = next(
        (found for found in tally.instruments.values() if found), manifest.get("lab_sysctls", {})
    )
    folder.write_manifest(manifest)
    judgement = judge_run(map(Expected.of, trials), folder.read().records)
    return RunResult(folder, tally, planned=len(trials), before=len(trials) - len(left), judgement=judgement)


def _begin(
    planned: Planned, options: RunOptions, folder: RunFolder, facts: HostFacts, described: Mapping[str, Any]
) -> tuple[list[Trial], dict[str, Any], set[str]]:
    """Return the trials with the traces that the folder keeps, its manifest, and the trials that need not run."""
    loaded, trials = planned.loaded, planned.trials
    if options.resume and folder.manifest_path.exists():
        manifest = folder.manifest()
        require_same_plan(manifest, folder.plan(), loaded, trials, str(folder.path))
        changed = differences(manifest, loaded, facts)
        if changed and not options.accept_changes:
            text = (
                f"not what {folder.path} began with: {'; '.join(changed)}. Use another --out, or add --accept-changes: "
                "each record then says on which of the two it was made"
            )
            raise ScenarioError([Problem(loaded.document.file, 0, "--resume", text)])
        if changed:
            accepted = {"at": utc_now(), "host": facts.id, "changed": changed}
            manifest.setdefault("accepted_changes", []).append(accepted)
        manifest.setdefault("hosts", {})[facts.id] = facts.model_dump(mode="json")
        trials, _ = keep_traces(trials, folder.path, manifest.get("traces", {}))
        folder.write_manifest(manifest)
        return trials, manifest, folder.finished_trials()
    started = utc_now()
    manifest = new_manifest(
        loaded,
        facts,
        started_at=started,
        run=hashlib.sha256(f"{started}{os.getpid()}".encode()).hexdigest()[:12],
        command=["overlaybench", *sys.argv[1:]],
        version=version("overlaybench"),
    )
    manifest |= described
    manifest["only"] = {key: list(values) for key, values in options.only.items()}
    folder.create(manifest, [trial.model_dump(mode="json", exclude={"topology"}) for trial in trials])
    trials, manifest["traces"] = keep_traces(trials, folder.path)
    folder.write_manifest(manifest)
    return trials, manifest, set()
