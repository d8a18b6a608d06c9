"""What was asked, on what machine, and how to repeat it: from the manifest, whatever of it there is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from harness.model.nat_order import nat_rank
from harness.report.order import subject_name
from harness.report.tables import groups
from harness.report.verdict import listed
from harness.results.loading import Results

_MACHINE = (
    ("cpu_model", "CPU"),
    ("cpus", "CPUs"),
    ("memory_mib", "memory (MiB)"),
    ("load_1min", "load when it began (1 min)"),
    ("kernel", "kernel"),
    ("distribution", "distribution"),
    ("architecture", "architecture"),
    ("python", "Python"),
)

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
            ("links", listed(sorted(set(trials["link"]) - {""})) or "ideal"),
            ("repeats", str(trials["repeat"].nunique())),
        ]
    rows += _probes(results.plan)
    skipped = results.manifest.get("skipped")
    if isinstance(skipped, Mapping) and skipped:
        rows.append(("not installed, skipped", listed(sorted(skipped))))
    reached = results.manifest.get("until")
    if isinstance(reached, list) and reached:
        narrow = sum(cell.get("reason") == "narrow enough" for cell in reached)
        rows.append(
            ("repeated until narrow", f"{narrow} of {len(reached)} cells; the others reached the cap of repeats")
        )
    planned = len(results.plan)
    done = f"{len(trials)} of {planned} planned" if planned else str(len(trials))
    return [*rows, ("trials finished", done)]


def _probes(plan: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    probes = [trial["probes"] for trial in plan if isinstance(trial.get("probes"), Mapping)]
    names = list(dict.fromkeys(name for one in probes for name, settings in one.items() if settings is not None))
    rows = [("probes", listed(names))] if names else []
    chosen = {(one.get("throughput") or {}).get("baseline") for one in probes}
    if where := [text for name, text in _BASELINES.items() if name in chosen]:
        rows.append(("baseline of TCP", listed(where)))
    return rows


def machine(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the machine and the programs in pairs of (what, answer)."""
    described = manifest.get("machine") or {}
    rows = [(name, _text(described[key])) for key, name in _MACHINE if described.get(key) is not None]
    if (manifest.get("processors") or {}).get("virtual"):
        rows.append(("virtual machine", _virtual(manifest["processors"])))
    for key in ("overlay_versions", "tool_versions"):
        versions = manifest.get(key)
        if isinstance(versions, Mapping):
            rows += [(str(name), _text(version)) for name, version in versions.items() if version is not None]
    # What the labs' nodes had decides; the machine's own may differ.
    in_labs = manifest.get("lab_sysctls") or {}
    rows += [(f"{key} in labs", _text(value)) for key, value in in_labs.items()]
    rows += [
        (f"{key} of the machine", _text(value))
        for key, value in (described.get("sysctls") or {}).items()
        if in_labs.get(key) != value
    ]
    return rows


def _virtual(processors: Mapping[str, Any]) -> str:
    how = (
        "its processors were kept from halting by a latency request to the kernel"
        if processors.get("kept_awake") == "latency request"
        else "its processors could halt, which makes timers late"
    )
    stolen = processors.get("stolen_s")
    if stolen is None:
        return f"yes; {how}"
    return f"yes; {how}; the host had them elsewhere for {_text(stolen)} s (all processors together)"


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
