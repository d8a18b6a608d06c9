"""A run: from planned trials to a finished result folder. Shows nothing but progress; the command reports."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.campaign.adapters import changed_adapters, keep_adapters
from harness.campaign.busy import busy_of
from harness.campaign.campaign import Campaign, Tally
from harness.campaign.manifest import differences, new_manifest, require_same_labels, require_same_plan
from harness.campaign.progress import progress_for
from harness.campaign.shards import Shard, description, trials_of
from harness.errors import OverlaybenchError, Problem, ScenarioError, storage_errors
from harness.hosts.contract import Host, HostFacts, ManyHosts
from harness.hosts.registry import kind_of
from harness.model.trial import Trial
from harness.model.words import Outcome
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
    After an outcome of `pause_on` a trial's lab is left standing until its user goes on; `live` shows what happens.
    """

    out: Path | None = None
    jobs: int | None = None
    only: Mapping[str, Sequence[str]] = field(default_factory=dict)
    resume: bool = False
    accept_changes: bool = False
    hosts: str | None = None
    shard: Shard | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    pause_on: tuple[Outcome, ...] = ()
    live: bool = False


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
        OverlaybenchError: nothing was run: wrong input, or the host lacks something.
        StorageError: the result folder could not be written; what was written stays, `--resume` goes on.
    """
    out = options.out or Path("runs") / f"{planned.loaded.name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    _require_registered(planned, options.hosts)
    asked = _open(options, out, planned)
    with contextlib.ExitStack() as at_end:
        if isinstance(asked, ManyHosts):
            at_end.callback(asked.release)
        planned, skipped = without_missing(planned, asked)
        for name, why in skipped.items():
            console.print(f"skipped: {name}, {why}", style="yellow", markup=False, soft_wrap=True)
        part, described = _part_of(planned, options.shard)
        described = {**described, **({"skipped": skipped} if skipped else {})}
        asked.require(part.trials, part.overlays)
        folder = RunFolder(out)
        at_end.callback(folder.close)
        with storage_errors(out):
            return _run(part, options, folder, console, asked=asked, described=described)


def _require_registered(planned: Planned, hosts: str | None) -> None:
    """Refuse adapters that are files where others would render them: those know overlays by their registered name."""
    if hosts in (None, "local"):
        return
    text = (
        "an adapter that is named by its file runs on this machine alone, since hosts render deployments by the "
        "overlay's registered name: leave out --hosts, run shards, or register it on every host (CONTRIBUTING.md)"
    )
    if problems := [Problem(str(file.path), 0, "--hosts", f"{name}: {text}") for name, file in planned.files.items()]:
        raise ScenarioError(problems)


def _open(options: RunOptions, out: Path, planned: Planned) -> Host:
    """Return the host of a plan's trials, by the address that the options give."""
    jobs = options.jobs or 4 * (os.cpu_count() or 1)
    return kind_of(options.hosts).open(options.hosts, label=str(out), jobs=jobs, overlays=planned.overlays)


def without_missing(planned: Planned, host: Host) -> tuple[Planned, dict[str, str]]:
    """Return the plan without overlays that the host lacks, where the scenario lets them be skipped; and why."""
    if planned.loaded.scenario.not_installed == "refuse":
        return planned, {}
    skipped = host.lacking(planned.overlays)
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
        text = "a scenario with `until` cannot be run in shards, because each shard would stop by its own results alone"
        raise ScenarioError([planned.loaded.document.problem(("until",), text)])
    trials, places = trials_of(planned.trials, shard)
    if not trials:
        blocks = len({trial.seed for trial in planned.trials})
        text = f"{shard} is empty: the plan has {blocks} blocks of trials that stay together"
        raise ScenarioError([Problem(planned.loaded.document.file, 0, "--shard", text)])
    named = {trial.overlay for trial in trials}
    overlays = {name: overlay for name, overlay in planned.overlays.items() if name in named}
    described = {"shard": description(planned.trials, shard, places)}
    return replace(planned, trials=trials, overlays=overlays), described


def _run(
    planned: Planned,
    options: RunOptions,
    folder: RunFolder,
    console: Console,
    *,
    asked: Host,
    described: Mapping[str, Any],
) -> RunResult:
    pool = asked if isinstance(asked, ManyHosts) else None
    host = pool or _open(options, folder.path, planned)
    facts = host.describe()
    trials, manifest, finished = _begin(planned, options, folder, facts=facts, described=described, pool=pool)
    left = [trial for trial in trials if trial.id not in finished]
    if finished:
        console.print(f"{len(finished)} of {len(trials)} trials are done already", highlight=False)
    if finished and pool is not None:
        hosts = {str(record["trial"]): str(record.get("host")) for record in folder.read().records}
        planned_as = {trial.id: trial for trial in trials}
        pool.resume((planned_as[name], host) for name, host in hosts.items() if name in planned_as)

    names = {} if pool is None else {key: str(one["name"]) for key, one in pool.account()["hosts"].items()}

    def run(part: Sequence[Trial]) -> Tally:
        with progress_for(console, len(part), names, live=options.live) as progress:
            return Campaign(
                folder=folder,
                run=str(manifest["run"]),
                overlays=planned.overlays,
                host=pool or _open(options, folder.path, planned),
                facts=facts,
                progress=progress,
                underlays=[trial for trial in trials if trial.mode == "underlay"],
                pause_on=options.pause_on,
                live=options.live,
            ).run(part)

    with host.measuring() as processors, _told_of(pool, manifest, folder):
        until = planned.loaded.scenario.until
        if until is None:
            tally = run(left)
        else:
            from harness.campaign.rounds import run_in_rounds  # noqa: PLC0415  # scipy is slow to load

            tally, manifest["until"] = run_in_rounds(trials, left, until, read=lambda: folder.read().records, run=run)
    manifest["ended_at"] = utc_now()
    if processors:
        manifest["processors"] = processors
    if busy := busy_of(folder.path):
        manifest["busy"] = busy
    # "none" is a lab without impaired links; a trial that never had a lab has no sysctls.
    manifest["link_backends"] = sorted({*tally.instruments, *manifest.get("link_backends", ())})
    manifest["lab_sysctls"] = next(
        (found for found in tally.instruments.values() if found), manifest.get("lab_sysctls", {})
    )
    folder.write_manifest(manifest)
    judgement = judge_run(map(Expected.of, trials), folder.read().records)
    return RunResult(folder, tally, planned=len(trials), before=len(trials) - len(left), judgement=judgement)


@contextlib.contextmanager
def _told_of(pool: ManyHosts | None, manifest: dict[str, Any], folder: RunFolder) -> Iterator[None]:
    """Keep what a pool says of its hosts when the block ends; when it fails, on the disk at once, if there is room."""
    try:
        yield
    except OverlaybenchError:
        if pool is not None:
            _keep_account(manifest, pool)
            with contextlib.suppress(OSError):
                folder.write_manifest(manifest)
        raise
    if pool is not None:
        _keep_account(manifest, pool)


def _begin(
    planned: Planned,
    options: RunOptions,
    folder: RunFolder,
    *,
    facts: HostFacts,
    described: Mapping[str, Any],
    pool: ManyHosts | None,
) -> tuple[list[Trial], dict[str, Any], set[str]]:
    """Return the trials with the traces that the folder keeps, its manifest, and the trials that need not run."""
    loaded, trials = planned.loaded, planned.trials
    if options.resume and folder.manifest_path.exists():
        manifest = folder.manifest()
        require_same_plan(manifest, folder.plan(), loaded, trials, str(folder.path))
        require_same_labels(manifest, options.labels, str(folder.path))
        # What many hosts have in common they were admitted for; the machines themselves are blocks.
        changed = differences(manifest, loaded, facts, same_machine=pool is None)
        changed += changed_adapters(manifest, planned.files)
        if changed and not options.accept_changes:
            text = (
                f"differs from what {folder.path} began with: {'; '.join(changed)}. Use another --out, or add "
                "--accept-changes: each record then says with which of the two it was made"
            )
            raise ScenarioError([Problem(loaded.document.file, 0, "--resume", text)])
        if changed:
            accepted = {"at": utc_now(), "host": facts.id, "changed": changed}
            manifest.setdefault("accepted_changes", []).append(accepted)
        manifest.setdefault("hosts", {})[facts.id] = facts.model_dump(mode="json")
        if pool is not None:
            _keep_account(manifest, pool)
        if planned.files:
            manifest["adapters"] = keep_adapters(planned.files, folder.path)
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
    if pool is not None:
        _keep_account(manifest, pool)
    if options.labels:
        manifest["labels"] = dict(options.labels)
    manifest["only"] = {key: list(values) for key, values in options.only.items()}
    folder.create(manifest, [trial.model_dump(mode="json", exclude={"topology"}) for trial in trials])
    if planned.files:
        manifest["adapters"] = keep_adapters(planned.files, folder.path)
    trials, manifest["traces"] = keep_traces(trials, folder.path)
    folder.write_manifest(manifest)
    return trials, manifest, set()


def _keep_account(manifest: dict[str, Any], pool: ManyHosts) -> None:
    """Add what a pool says of its hosts to what earlier parts of the run have said of theirs."""
    account = pool.account()
    for key in ("hosts", "hosts_refused"):
        if key in account:
            manifest[key] = {**manifest.get(key, {}), **account[key]}
    for one in account["hosts"].values():  # what was mended since it was refused
        manifest.get("hosts_refused", {}).pop(one["name"], None)
    before = [one for one in manifest.get("hosts_lost", []) if one not in account.get("hosts_lost", [])]
    if lost := [*before, *account.get("hosts_lost", [])]:
        manifest["hosts_lost"] = lost
