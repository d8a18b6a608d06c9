"""`overlaybench run`: from a scenario's name to a finished result folder."""

from __future__ import annotations

import datetime
import hashlib
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

import harness
from harness.campaign.campaign import Campaign, Tally
from harness.campaign.progress import progress_for
from harness.errors import (
    EXIT_EXPECTATION,
    EXIT_HARNESS,
    EXIT_OK,
    MissingPrerequisite,
    OverlaybenchError,
    Problem,
    ScenarioError,
)
from harness.link.choose import require_backend
from harness.machine.describe import describe_machine, git_commit, overlay_version, tool_versions
from harness.machine.processors import is_virtual, processors_awake, stolen_s
from harness.model.document import did_you_mean
from harness.model.trial import Trial
from harness.nat.portmap import require_miniupnpd
from harness.overlay.contract import Overlay
from harness.overlay.install import missing as missing_requirements
from harness.overlay.registry import load_overlay, overlay_names
from harness.overlay.support import helpers_of
from harness.results.metrics import METRICS
from harness.results.record import SCHEMA_VERSION
from harness.results.store import RunFolder
from harness.sandbox.unshare import is_privileged, why_no_user_namespaces
from harness.scenario.expected import expected_verdicts
from harness.scenario.load import load_scenario
from harness.scenario.loaded import LoadedScenario
from harness.scenario.plan import expand, select
from harness.scenario.traces import find_traces, keep_traces

VERSION = "0.1.0"
MEASURING_TOOLS = {
    "nft": "nftables",
    "ip": "iproute2",
    "ping": "iputils-ping",
    "iperf3": "iperf3",
    "irtt": "irtt",
    "mnexec": "mininet",
}


@dataclass(frozen=True)
class RunOptions:
    """What the command line says beside the scenario."""

    scenario: str
    out: Path | None = None
    jobs: int | None = None
    repeat: int | None = None
    seed: int | None = None
    only: Mapping[str, Sequence[str]] = field(default_factory=dict)
    resume: bool = False


def plan_trials(
    name: str, only: Mapping[str, Sequence[str]], repeat: int | None = None, seed: int | None = None
) -> tuple[LoadedScenario, list[Trial], dict[str, Overlay]]:
    """Load, check and expand a scenario; the overlays that it names come with it.

    Raises:
        ScenarioError: everything that is wrong with it.
    """
    loaded = load_scenario(name, overlay_names())
    changes: dict[str, Any] = {}
    if repeat is not None:
        changes["repeats"] = repeat
    if seed is not None:
        changes["seed"] = seed
    if changes:
        scenario = loaded.scenario.model_copy(update=changes)
        loaded = replace(loaded, scenario=scenario)
    overlays = {name: load_overlay(name) for name in loaded.scenario.overlays}
    trials = expand(
        loaded,
        lambda trial: expected_verdicts(trial, overlays[trial.overlay]),
        lambda name, mode: helpers_of(overlays[name], mode),
    )
    problems = [
        loaded.document.problem(
            ("overlays", overlay), f"{overlay} needs a server, and topology {loaded.topology.name} has none"
        )
        for overlay, adapter in overlays.items()
        if adapter.needs_server and trials[0].topology.server is None
    ]
    until = loaded.scenario.until
    if until is not None and until.metric not in METRICS:
        text = f"unknown metric{did_you_mean(until.metric, METRICS)}"
        problems.append(loaded.document.problem(("until", "metric"), text))
    try:
        trials = find_traces(trials, loaded.folders)
    except ScenarioError as error:
        problems += error.problems
    if problems:
        raise ScenarioError(problems)
    return loaded, select(trials, only, loaded.document.file) if only else trials, overlays


def run_scenario(options: RunOptions, console: Console) -> int:
    """Run and report; returns the exit code.

    Raises:
        OverlaybenchError: nothing was run: wrong input, or the machine lacks something.
    """
    loaded, trials, overlays = plan_trials(options.scenario, options.only, options.repeat, options.seed)
    wanted = {trial.overlay for trial in trials}
    overlays = {name: overlay for name, overlay in overlays.items() if name in wanted}
    require_machine(overlays)
    for choice in {trial.links for trial in trials}:
        links = {link for trial in trials if trial.links == choice for link in trial.topology.impaired_links()}
        if links:
            require_backend(choice, list(links))
    if any(router.nat.port_mapping for trial in trials for router in trial.topology.routers.values()):
        require_miniupnpd()
    out = options.out or Path("runs") / f"{loaded.name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    folder = RunFolder(out)
    versions = {name: overlay_version(overlay) for name, overlay in overlays.items()}
    plan = [trial.model_dump(mode="json", exclude={"topology"}) for trial in trials]
    if options.resume and folder.manifest_path.exists():
        finished = _finished(folder, loaded, trials)
        manifest = folder.manifest()
        trials, _ = keep_traces(trials, folder.path, manifest.get("traces", {}))
    else:
        finished = set()
        manifest = _manifest(loaded, versions, options)
        folder.create(manifest, plan)
        trials, manifest["traces"] = keep_traces(trials, folder.path)
        folder.write_manifest(manifest)
    left = [trial for trial in trials if trial.id not in finished]
    jobs = options.jobs or 4 * (os.cpu_count() or 1)
    if finished:
        console.print(f"{len(finished)} of {len(trials)} trials are there already", highlight=False)

    def run(part: Sequence[Trial]) -> Tally:
        with progress_for(console, len(part)) as progress:
            return Campaign(
                folder=folder,
                run=str(manifest["run"]),
                overlays=overlays,
                versions=versions,
                jobs=jobs,
                progress=progress,
            ).run(part)

    stolen_before_s = stolen_s()
    with processors_awake() as kept_awake:
        if loaded.scenario.until is None:
            tally = run(left)
        else:
            from harness.campaign.rounds import run_in_rounds  # noqa: PLC0415  # scipy is slow to load

            tally, manifest["until"] = run_in_rounds(
                trials, left, loaded.scenario.until, read=lambda: folder.read().records, run=run
            )
    manifest["ended_at"] = _now()
    manifest["processors"] = {
        "virtual": is_virtual(),
        "kept_awake": kept_awake,
        "stolen_s": round(stolen_s() - stolen_before_s, 2),
    }
    # "none" is a lab without impaired links; a trial that never had a lab has no sysctls.
    manifest["link_backends"] = sorted(tally.instruments)
    manifest["lab_sysctls"] = next(
        (found for found in tally.instruments.values() if found), manifest.get("lab_sysctls", {})
    )
    folder.write_manifest(manifest)
    folder.close()
    return _conclude(folder, tally, len(trials) - len(left), len(trials), console)


def _conclude(folder: RunFolder, tally: Tally, before: int, planned: int, console: Console) -> int:
    done = before + sum(tally.outcomes.values())
    lines = folder.finish()
    for problem in lines.problems:
        console.print(f"records.jsonl, line {problem.line}: {problem.text}", style="yellow", markup=False)
    if done:
        from harness.report.html import write_report  # noqa: PLC0415  # matplotlib is slow to load
        from harness.report.terminal import print_results  # noqa: PLC0415
        from harness.results.loading import load  # noqa: PLC0415

        print_results(load(folder.path).records, Console())
        report = write_report(folder.path)
        console.print(f"report: {report}", highlight=False, soft_wrap=True)
    if tally.interrupted:
        console.print(
            f"stopped: the results of {done} of {planned} trials are kept in {folder.path}; go on with --resume",
            highlight=False,
            soft_wrap=True,
        )
        return EXIT_HARNESS
    for complaint in tally.complaints:
        console.print(f"not as expected: {complaint}", style="red", markup=False, soft_wrap=True)
    for error in tally.errors:
        console.print(f"error of the harness: {error}", style="bold red", markup=False, soft_wrap=True)
    if tally.errors:
        return EXIT_HARNESS
    return EXIT_EXPECTATION if tally.complaints else EXIT_OK


def require_machine(overlays: Mapping[str, Overlay]) -> None:
    """Check that this machine can run these overlays at all, before anything is started.

    Raises:
        MissingPrerequisite: names all that is missing and one command that gets it.
    """
    forbidden = why_no_user_namespaces()
    if forbidden is not None:
        raise forbidden
    missing: dict[str, str] = {
        f"the program `{program}`": f"apt-get install -y {package}"
        for program, package in MEASURING_TOOLS.items()
        if shutil.which(program) is None
    }
    for name, overlay in overlays.items():
        missing |= {
            f"the program `{requirement.program}` (overlay {name})": requirement.install
            for requirement in missing_requirements(overlay.requirements())
        }
    needs_tun = [name for name, overlay in overlays.items() if overlay.layer in ("L2", "L3") and name != "underlay"]
    if needs_tun and not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        how = "sudo chmod 0666 /dev/net/tun" if Path("/dev/net/tun").exists() else "sudo modprobe tun"
        missing["access to /dev/net/tun"] = how
    if missing:
        raise MissingPrerequisite(", ".join(missing), " && ".join(dict.fromkeys(missing.values())))


def _finished(folder: RunFolder, loaded: LoadedScenario, trials: Sequence[Trial]) -> set[str]:
    """The trials that need not run again.

    Raises:
        ScenarioError: the folder belongs to another scenario or plan.
    """
    if folder.manifest().get("scenario_sha256") != _hash(loaded.text):
        text = f"{folder.path} was made from another text of this scenario; use another --out"
        raise ScenarioError([Problem(loaded.document.file, 0, "--resume", text)])
    planned = {entry["id"]: entry["seed"] for entry in folder.plan()}
    if {trial.id: trial.seed for trial in trials} != planned:
        text = f"{folder.path} has another plan: give the same --only, --repeat and --seed as before"
        raise ScenarioError([Problem(loaded.document.file, 0, "--resume", text)])
    return folder.finished_trials()


def _manifest(loaded: LoadedScenario, versions: Mapping[str, str | None], options: RunOptions) -> dict[str, Any]:
    started = _now()
    return {
        "schema": SCHEMA_VERSION,
        "run": hashlib.sha256(f"{started}{os.getpid()}".encode()).hexdigest()[:12],
        "scenario": loaded.name,
        "scenario_file": loaded.document.file,
        "scenario_text": loaded.text,
        "scenario_sha256": _hash(loaded.text),
        "description": loaded.scenario.description,
        "topology": loaded.topology.name,
        "seed": loaded.scenario.seed,
        "repeats": loaded.scenario.repeats,
        "only": {key: list(values) for key, values in options.only.items()},
        "command": ["overlaybench", *sys.argv[1:]],
        "started_at": started,
        "overlaybench_version": VERSION,
        "overlaybench_commit": git_commit(Path(harness.__file__).parent),
        "overlay_versions": dict(versions),
        "tool_versions": tool_versions(),
        "link_backend_wanted": loaded.scenario.links,
        "privileged": is_privileged(),
        "machine": describe_machine(),
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


__all__ = ["OverlaybenchError", "RunOptions", "plan_trials", "require_machine", "run_scenario"]
