"""What was asked, on what machine, and how to repeat it: from the manifest, whatever of it there is."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.model.nat_order import nat_rank
from harness.report.order import subject_name
from harness.report.tables import groups
from harness.report.verdict import listed
from harness.results.cells import CONDITION
from harness.results.declared import NEVER
from harness.results.loading import Results

_MACHINE = (
    ("cpu_model", "CPU"),
    ("cpus", "CPUs"),
    ("memory_mib", "memory (MiB)"),
    ("load_1min", "load average at the start (1 min)"),
    ("kernel", "kernel"),
    ("distribution", "distribution"),
    ("architecture", "architecture"),
    ("python", "Python"),
)

_MOST_NAMED = 5
_BASELINES = {
    "lab": "the underlay of the same lab, once the overlay has stopped",
    "cell": "the underlay's own trial of the same cell and repeat",
}


def asked(results: Results) -> list[tuple[str, str]]:
    """Return the question in pairs of (what, answer)."""
    trials = results.trials
    rows = []
    if len(trials):
        nats = sorted({*trials["nat_a"], *trials["nat_b"]} - {""}, key=nat_rank)
        rows = [
            ("overlays", listed([subject_name(*subject) for subject, _ in groups(trials)])),
            ("topology", listed(sorted(set(trials["topology"])))),
            ("NATs", listed(nats) or "none"),
            ("links", _links(results)),
            _repeats(results),
        ]
    rows += _probes(results.plan)
    labels = results.manifest.get("labels")
    if isinstance(labels, Mapping) and labels:
        rows.append(("labels", ", ".join(f"{key}={value}" for key, value in labels.items())))
    skipped = results.manifest.get("skipped")
    if isinstance(skipped, Mapping) and skipped:
        rows.append(("not installed, skipped", listed(sorted(skipped))))
    reached = results.manifest.get("until")
    if isinstance(reached, list) and reached:
        narrow = sum(cell.get("reason") == "narrow enough" for cell in reached)
        rows.append(
            (
                "repeated until intervals were narrow",
                f"{narrow} of {len(reached)} cells; the others reached the maximum number of repeats",
            )
        )
    planned = len(results.plan)
    done = f"{len(trials)} of {planned} planned" if planned else str(len(trials))
    return [*rows, ("trials finished", done)]


def _repeats(results: Results) -> tuple[str, str]:
    """Say how often each condition was run; of a simulation, pairs by cell and larger groups by size."""
    if results.manifest.get("engine") == "simulated":
        planned = (
            pd.DataFrame(results.plan)
            if results.plan
            else results.trials.assign(params=results.trials["params"].map(json.loads))
        )
        size = planned["params"].map(lambda params: int(params.get("group", 2)))
        of_pairs, of_groups = planned["repeat"][size == 2], planned["repeat"][size > 2]
        said = [f"{of_pairs.nunique()} per pair of access types"] if len(of_pairs) else []
        said += [f"{of_groups.nunique()} per size of larger groups"] if len(of_groups) else []
        return "worlds", ", ".join(said)
    trials = results.trials
    condition = [trials[name].astype(str) for name in CONDITION if name in trials]
    counts = trials["repeat"].groupby(condition).nunique() if condition else trials["repeat"].agg(["nunique"])
    return "repeats", f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"


def _links(results: Results) -> str:
    if results.manifest.get("engine") == "simulated":
        return str(results.manifest.get("links") or "one for each type of access (see the population file)")
    return listed(sorted(set(results.trials["link"]) - {""})) or "ideal"


def _probes(plan: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    probes = [trial["probes"] for trial in plan if isinstance(trial.get("probes"), Mapping)]
    names = list(dict.fromkeys(name for one in probes for name, settings in one.items() if settings is not None))
    rows = [("probes", listed(names))] if names else []
    chosen = {(one.get("throughput") or {}).get("baseline") for one in probes}
    if where := [text for name, text in _BASELINES.items() if name in chosen]:
        rows.append(("TCP baseline", listed(where)))
    return rows


def machine(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the machine and the programs in pairs of (what, answer)."""
    described = manifest.get("machine") or {}
    rows = [(name, _text(described[key])) for key, name in _MACHINE if described.get(key) is not None]
    processors = manifest.get("processors") or {}
    if processors.get("virtual"):
        rows.append(("virtual machine", _virtual(processors)))
    of_hosts = processors.get("hosts") or {}
    rows += [(f"virtual machine, {name}", _virtual(one)) for name, one in of_hosts.items() if one.get("virtual")]
    for key in ("overlay_versions", "tool_versions"):
        versions = manifest.get(key)
        if isinstance(versions, Mapping):
            rows += [(str(name), _text(version)) for name, version in versions.items() if version is not None]
    # What the labs' nodes had decides; the machine's own may differ.
    in_labs = manifest.get("lab_sysctls") or {}
    rows += [(f"{key} (in labs)", _text(value)) for key, value in in_labs.items()]
    rows += [
        (f"{key} (on the machine)", _text(value))
        for key, value in (described.get("sysctls") or {}).items()
        if in_labs.get(key) != value
    ]
    return rows


def began_busy(manifest: Mapping[str, Any]) -> str:
    """Say which trials began to load a machine that others were using; empty where none did, or nobody looked."""
    busy = manifest.get("busy") or {}
    began = [name for name, found in busy.items() if found.get("began_busy")]
    if not began:
        return ""
    most = max(busy[name]["share"] for name in began)
    waited_s = sum(found["waited_s"] for found in busy.values())
    more = f" and {len(began) - _MOST_NAMED} more" if len(began) > _MOST_NAMED else ""
    return (
        f"{len(began)} of {len(busy)} trials that load the machine began while other processes were waiting for its "
        f"processors (up to {100 * most:.0f} % of the time), although the run had waited {waited_s:.0f} s in all. "
        f"Their figures may be too slow ({', '.join(began[:_MOST_NAMED])}{more})."
    )


def never_came(records: pd.DataFrame) -> str:
    """Say which events of the timeline never came, in how many trials; empty where all did."""
    rows = records[(records["outcome"] == "error") & (records["error"] == NEVER)]
    if rows.empty:
        return ""
    names = rows["phase"].astype(str).str.removeprefix("after ")
    of_each = [f"{name} in {rows.loc[names == name, 'trial'].nunique()}" for name in sorted(set(names))]
    return (
        f"In {rows['trial'].nunique()} of {records['trial'].nunique()} trials the traffic ended before an event could "
        f"happen ({', '.join(of_each)}), so that its effect there is unknown."
    )


def _virtual(processors: Mapping[str, Any]) -> str:
    how = (
        "its processors were kept from halting by a latency request to the kernel"
        if processors.get("kept_awake") == "latency request"
        else "its processors could halt, which makes timers late"
    )
    stolen = processors.get("stolen_s")
    if stolen is None:
        return f"yes; {how}"
    return f"yes; {how}; the host gave {_text(stolen)} s of their time to others (all processors together)"


def reproduce(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what repeats the run, in pairs of (what, answer)."""
    names = (
        ("command", "command"),
        ("seed", "seed"),
        ("overlaybench_version", "overlaybench"),
        ("overlaybench_commit", "commit"),
        ("scenario_file", "scenario"),
        ("scenario_sha256", "its SHA-256"),
        ("started_at", "started"),
        ("ended_at", "ended"),
    )
    return [(name, _text(manifest[key])) for key, name in names if manifest.get(key) is not None]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return shlex.join(map(str, value))
    return f"{value:.2f}" if isinstance(value, float) else str(value)
