"""What two runs were made with and under, where it differs: from their manifests and plans."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.results.asked import asked_otherwise, driven_by_timeline, timelines_differ
from harness.results.loading import Results
from harness.results.metrics import metrics_of_probes

# A machine of another kind: absolutes of the two say nothing of the overlay.
KIND = ("cpu_model", "cpus", "architecture")
# The same machine in another state: figures are compared, and the reader is warned.
_STATE = ("kernel", "memory_mib", "distribution", "python")
# More load per processor than this in one of the runs, and less in the other, is worth a warning.
_BUSY = 0.5


@dataclass(frozen=True)
class Differences:
    """How the circumstances of two runs differ.

    `same_machine`: of one kind, as far as the manifests tell; `left_out`: metrics that the two measured in different
    ways; `remarks`: what a reader must know; `same_lab`: no topology has another content under the same name.
    """

    same_machine: bool
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]
    same_lab: bool = True


def differences(base: Results, new: Results) -> Differences:
    """Return how the circumstances of two runs differ."""
    machines = [results.manifest.get("machine") or {} for results in (base, new)]
    remarks = [f"{name} differs: {old} and {now}" for name, old, now in _differing(machines, (*KIND, *_STATE))]
    remarks += _loads(machines)
    sysctls = [results.manifest.get("lab_sysctls") or {} for results in (base, new)]
    if all(sysctls):
        names = sorted({*sysctls[0], *sysctls[1]})
        remarks += [f"{name} in labs differs: {old} and {now}" for name, old, now in _differing(sysctls, names)]
    backends = [list(results.manifest.get("link_backends") or ()) for results in (base, new)]
    if all(backends) and backends[0] != backends[1]:
        by = f"links were emulated by {', '.join(backends[0])} and by {', '.join(backends[1])}"
        remarks.append(f"{by}: cells that differ in this are not compared")
    same_lab = not _other_topology(base.manifest, new.manifest)
    if not same_lab:
        remarks.append(
            f"the content of topology {new.manifest.get('topology')} differs, so that the labs are not the same"
        )
    remarks += asked_otherwise(base.plan, new.plan)
    if busy := _began_busy(base, new):
        remarks.append(busy)
    rights = [results.manifest.get("privileged") for results in (base, new)]
    if None not in rights and rights[0] != rights[1]:
        remarks.append(f"only one was run as root: the {'base' if rights[0] else 'new run'}")
    for key in ("overlay_versions", "tool_versions"):
        versions = [results.manifest.get(key) or {} for results in (base, new)]
        shared = sorted(versions[0].keys() & versions[1].keys())
        remarks += [f"version of {name} differs: {old} and {now}" for name, old, now in _differing(versions, shared)]
    probes = _other_probes(base.plan, new.plan)
    otherwise = {*probes, *(driven_by_timeline() if timelines_differ(base.plan, new.plan) else ())}
    left_out = sorted({metric for probe in otherwise for metric in metrics_of_probes().get(probe, ())})
    remarks += [
        f"probe {probe} had different settings ({how}): its metrics are not compared" for probe, how in probes.items()
    ]
    hosts = [_hosts(results) for results in (base, new)]
    if hosts[0] != hosts[1] and max(len(side) for side in hosts) > 1:
        told = [
            " and ".join(f"{count} x {', '.join(map(str, kind))}" for kind, count in side.items()) for side in hosts
        ]
        remarks.append(f"hosts differ: {told[0]} in the base; {told[1]} in the new run")
    kind = hosts[0].keys() == hosts[1].keys()
    return Differences(kind, tuple(left_out), tuple(remarks), same_lab)


def _other_topology(base: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Tell whether a topology of the same name has another content."""
    contents = [manifest.get("topology_sha256") for manifest in (base, new)]
    same_name = base.get("topology") == new.get("topology")
    return same_name and None not in contents and contents[0] != contents[1]


def _began_busy(*runs: Results) -> str:
    """Say how many trials began although others wanted the processors; empty where none did."""
    counts = [sum(bool(one.get("began_busy")) for one in (run.manifest.get("busy") or {}).values()) for run in runs]
    if not any(counts):
        return ""
    told = [f"{count} of {run.records['trial'].nunique()}" for count, run in zip(counts, runs, strict=True)]
    return f"trials that began while the machine was busy: {told[0]} in the base, {told[1]} in the new run"


def _hosts(results: Results) -> Counter[tuple[Any, ...]]:
    """Return how many hosts of each kind ran a run's trials: those of a merged run may be of several."""
    machines = [facts.get("machine") or {} for facts in hosts_that_ran(results).values()]
    return Counter(map(kind_of, machines or [results.manifest.get("machine") or {}]))


def hosts_that_ran(results: Results) -> dict[str, Mapping[str, Any]]:
    """Return the facts of the hosts that ran trials, by id; of all that took part where no record names one."""
    hosts = results.manifest.get("hosts") or {}
    named = set(results.records["host"].dropna().astype(str)) if "host" in results.records else set()
    return {key: facts for key, facts in hosts.items() if key in named} or dict(hosts)


def kind_of(machine: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what makes a machine one of a kind: the values of `KIND`, None where unknown."""
    return tuple(machine.get(name) for name in KIND)


def kinds_of_hosts(manifest: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return the kind of each host of a run, by the id that its records have."""
    hosts = manifest.get("hosts") or {}
    return {str(key): kind_of(facts.get("machine") or {}) for key, facts in hosts.items()}


def _differing(sides: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[tuple[str, Any, Any]]:
    pairs = [(name, sides[0].get(name), sides[1].get(name)) for name in names]
    return [(name, old, now) for name, old, now in pairs if old != now]


def _loads(machines: Sequence[Mapping[str, Any]]) -> list[str]:
    loads = [machine.get("load_1min") for machine in machines]
    counts = [machine.get("cpus") or 1 for machine in machines]
    if not all(isinstance(load, int | float) for load in loads):
        return []
    busy = [float(load) / count for load, count in zip(loads, counts, strict=True)]  # type: ignore[arg-type]
    if abs(busy[0] - busy[1]) <= _BUSY:
        return []
    told = " and ".join(f"{load:.2f} on {count} CPUs" for load, count in zip(loads, counts, strict=True))
    return [f"the load when the runs began differs: {told}"]


def _other_probes(base: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the probes that both runs had with other settings, each with the settings that differ."""
    sides = [_settings(plan) for plan in (base, new)]
    found = {}
    for probe in sorted(sides[0].keys() & sides[1].keys()):
        if sides[0][probe] != sides[1][probe]:
            found[probe] = _how(sides[0][probe], sides[1][probe])
    return found


def _settings(plan: Sequence[Mapping[str, Any]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for trial in plan:
        for probe, settings in (trial.get("probes") or {}).items():
            if settings is not None:
                found.setdefault(probe, set()).add(json.dumps(settings, sort_keys=True))
    return found


def _how(base: set[str], new: set[str]) -> str:
    if len(base) != 1 or len(new) != 1:
        return "several settings"
    old, now = json.loads(min(base)), json.loads(min(new))
    names = [name for name in sorted({*old, *now}) if old.get(name) != now.get(name)]
    return ", ".join(f"{name} {old.get(name)} and {now.get(name)}" for name in names)
