"""A run's description of itself, and whether a resumed run is still the same experiment. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.errors import Problem, ScenarioError
from harness.hosts.contract import PASSING, HostFacts
from harness.model.trial import Trial
from harness.results.record import SCHEMA_VERSION
from harness.scenario.loaded import LoadedScenario


def new_manifest(
    loaded: LoadedScenario, facts: HostFacts, *, started_at: str, run: str, command: Sequence[str], version: str
) -> dict[str, Any]:
    """Return the manifest of a new run (results/README.md has its keys)."""
    return {
        "schema": SCHEMA_VERSION,
        "run": run,
        "scenario": loaded.name,
        "scenario_file": loaded.document.file,
        "scenario_text": loaded.text,
        "scenario_sha256": sha256(loaded.text),
        "description": loaded.scenario.description,
        "topology": loaded.topology.name,
        "topology_sha256": sha256(loaded.topology.source_text),
        "seed": loaded.scenario.seed,
        "repeats": loaded.scenario.repeats,
        "command": list(command),
        "started_at": started_at,
        "overlaybench_version": version,
        "overlaybench_commit": facts.commit,
        "overlay_versions": facts.overlay_versions,
        "tool_versions": facts.tool_versions,
        "link_backend_wanted": loaded.scenario.links,
        "link_backend": facts.link_backend,
        "privileged": facts.privileged,
        "machine": facts.machine,
        "hosts": {facts.id: facts.model_dump(mode="json")},
    }


def require_same_plan(
    manifest: Mapping[str, Any],
    plan: Sequence[Mapping[str, Any]],
    loaded: LoadedScenario,
    trials: Sequence[Trial],
    where: str,
) -> None:
    """Refuse to resume in a folder that was made for other trials; they can never be one experiment.

    Raises:
        ScenarioError: another text of the scenario, or another plan.
    """
    if manifest.get("scenario_sha256") != sha256(loaded.text):
        text = f"{where} was made from another text of this scenario; use another --out"
        raise ScenarioError([Problem(loaded.document.file, 0, "--resume", text)])
    planned = {entry["id"]: entry["seed"] for entry in plan}
    if {trial.id: trial.seed for trial in trials} != planned:
        text = f"{where} has another plan: give the same --only, --repeat and --seed as before"
        raise ScenarioError([Problem(loaded.document.file, 0, "--resume", text)])


def require_same_labels(manifest: Mapping[str, Any], labels: Mapping[str, str], where: str) -> None:
    """Refuse to resume with other labels than the run began with; without any it goes on with its own.

    Raises:
        ScenarioError: a label differs.
    """
    before = manifest.get("labels") or {}
    for key, value in labels.items():
        if before.get(key) != value:
            was = f"was {before[key]}" if key in before else "was not given"
            raise ScenarioError([Problem(where, 0, f"--label {key}", f"{was} when this run began; use another --out")])


def differences(
    manifest: Mapping[str, Any], loaded: LoadedScenario, facts: HostFacts, *, same_machine: bool = True
) -> list[str]:
    """Return what is not as it was when the run began, one phrase each: its results would be of several experiments.

    The machine's load is no difference, nor is what the manifest of an older version does not tell; the machine itself
    is one only where it has to be the same, but for its Python.
    """
    return list(_differences(manifest, loaded, facts, same_machine))


def _differences(
    manifest: Mapping[str, Any], loaded: LoadedScenario, facts: HostFacts, same_machine: bool
) -> Iterator[str]:
    before = manifest.get("topology_sha256")
    if before is not None and before != sha256(loaded.topology.source_text):
        yield f"the content of topology {loaded.topology.name}"
    now = facts.model_dump(mode="json")
    singles: list[tuple[str, str, Any]] = [
        ("overlaybench_commit", "overlaybench's commit", facts.commit),
        ("privileged", "root", facts.privileged),
    ]
    if loaded.scenario.links == "auto":  # any other choice is carried by what it names, or refused
        singles.append(("link_backend", "what carries the links", facts.link_backend))
    for key, name, value in singles:
        if key in manifest and manifest[key] != value:
            yield _changed(name, manifest[key], value)
    began: Mapping[str, Any] = next(iter((manifest.get("hosts") or {}).values()), {})
    if "code" in began and began.get("commit") == facts.commit and began["code"] != facts.code:
        yield "overlaybench's local changes, which no commit tells"
    python = (manifest.get("machine") or {}).get("python")
    if not same_machine and python is not None and python != facts.machine.get("python"):
        yield _changed("machine: python", python, facts.machine.get("python"))
    compared = [("tool_versions", "tool"), ("overlay_versions", "overlay")]
    for key, name in [*compared, *([("machine", "machine:")] if same_machine else [])]:
        then: Mapping[str, Any] = manifest.get(key) or {}
        for part in sorted(then.keys() & now[key].keys() - PASSING):
            if then[part] != now[key][part]:
                yield _changed(f"{name} {part}", then[part], now[key][part])


def _changed(name: str, then: Any, now: Any) -> str:
    if isinstance(then, dict) and isinstance(now, dict):
        parts = sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))
        return "; ".join(_changed(f"{name} {key}", then.get(key), now.get(key)) for key in parts)
    return f"{name} (was {then}, is {now})"


def sha256(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()
