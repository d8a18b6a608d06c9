"""The runs of a site: result folders, loaded, with what filters ask of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.results.declared import Metric
from harness.results.loading import Results, load
from harness.results.metrics import METRICS, metric_of, metrics_of_probes
from harness.results.pairs import pairs_frame
from harness.results.store import ResultFolderError


@dataclass(frozen=True, eq=False)
class Run:
    """A run: `key` names its folder in the site, `name` is what people read.

    `pairs` has a row per trial and pair of members with every metric that was recorded as a column, the overlay's
    `version`, and the `machine` that ran the trial.
    """

    key: str
    name: str
    results: Results
    pairs: pd.DataFrame
    metrics: tuple[Metric, ...]

    @property
    def started(self) -> str:
        """The day on which it began, empty where the manifest does not say."""
        return str(self.results.manifest.get("started_at") or "")[:10]


def gather(folders: Sequence[Path]) -> list[Run]:
    """Return the runs, the latest first.

    Raises:
        ResultFolderError: a folder is none, or two hold the same run, which would be shown twice.
    """
    found: dict[str, tuple[Path, Run]] = {}
    for folder in folders:
        run = _run(load(folder))
        if run.key in found:
            raise ResultFolderError(f"{folder}: contains the same run as {found[run.key][0]}")
        found[run.key] = folder, run
    return sorted((run for _, run in found.values()), key=lambda run: (run.started, run.key), reverse=True)


def slug(text: str) -> str:
    """Return text as it may stand in a file's name or a link."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def _run(results: Results) -> Run:
    records, manifest = results.records, results.manifest
    scenario = manifest.get("scenario")
    name = scenario if isinstance(scenario, str) and "\n" not in scenario else ""
    name = name or (str(records["scenario"].iloc[0]) if len(records) else results.path.name)
    ids = [str(manifest["run"])] if manifest.get("run") else sorted({str(run) for run in records["run"]})
    metrics = tuple(_recorded(records))
    pairs = pairs_frame(records, metrics)
    ends = records.drop_duplicates("trial").set_index("trial")
    versions = ends["overlay_version"].astype(object).where(ends["overlay_version"].notna(), "")
    pairs["version"] = pairs["trial"].map(versions)
    pairs["machine"] = [machine_of(manifest, host) for host in pairs["host"].astype(object)]
    return Run(slug("-".join([name, *ids])), name, results, pairs, metrics)


def _recorded(records: pd.DataFrame) -> list[Metric]:
    """Return the metrics that the records have, in the order of the probes; those of trial and lab last."""
    units = records.drop_duplicates("metric")[["metric", "unit"]].astype(str)
    unit_of = dict(zip(units["metric"], units["unit"], strict=True))
    probed = [name for names in metrics_of_probes().values() for name in names]
    order = dict.fromkeys([*probed, *sorted(set(unit_of) - set(METRICS)), *METRICS])
    return [metric_of(name, unit_of[name]) for name in order if name in unit_of]


def machine_of(manifest: Mapping[str, Any], host: object) -> str:
    """Return the machine that ran a trial as people read it; runs on one machine do not name it as a host."""
    hosts = manifest.get("hosts")
    known = hosts.get(host) if isinstance(hosts, Mapping) and isinstance(host, str) else None
    machine = (known or {}).get("machine") if isinstance(known, Mapping) else None
    facts = machine or manifest.get("machine") or {}
    name = str(host) if machine and isinstance(hosts, Mapping) and len(hosts) > 1 else ""
    parts = [name, str(facts.get("cpu_model") or ""), _count(facts.get("cpus")), str(facts.get("kernel") or "")]
    return ", ".join(part for part in parts if part) or "unknown machine"


def _count(cpus: object) -> str:
    return f"{cpus} CPU{'s' if cpus != 1 else ''}" if isinstance(cpus, int) else ""
