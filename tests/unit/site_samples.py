"""Runs for the tests of sites: two versions of one scenario, the second on two machines, with trials in trouble."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from result_samples import EVIL, PAIR, Maker

from harness.results.store import RunFolder

# Drawing plots takes a quarter of a second each, and these probes have most of them.
_LEFT_OUT = frozenset({"throughput", "lab", "deploy"})
MACHINES = {name: {"machine": {"cpu_model": f"CPU {name}", "cpus": 2, "kernel": "6.1"}} for name in ("h1", "h2")}


def run_of(path: Path, run: str, version: str, *, hosts: bool = False, repeats: int = 3, without: str = "") -> Path:
    """Write a run's folder, without one more probe where a test has no use for its plots, and return it."""
    folder = RunFolder(path)
    more: dict[str, Any] = {"hosts": MACHINES} if hosts else {"machine": MACHINES["h1"]["machine"]}
    about = {"schema": 3, "scenario": "demo", "run": run, "started_at": "2026-11-23T12:00:00+00:00"}
    folder.create(about | more, [])
    maker = Maker(run=run, seed=len(run))
    for trial in maker.campaign(repeats):
        where: dict[str, Any] = {"host": f"h{1 + trial[0].repeat % 2}"} if hosts else {}
        records = [record for record in trial if record.probe not in {*_LEFT_OUT, without}]
        folder.append([replace(record, overlay_version=version, **where) for record in records])
    for outcome in ("failed", "invalid"):
        ended = maker.ended(f"t-{outcome}", outcome, **PAIR)
        where = {"host": "h1"} if hosts else {}
        folder.append([replace(record, overlay_version=version, error=f"{EVIL} broke", **where) for record in ended])
    evidence = path / "trials" / "t-failed"
    evidence.mkdir(parents=True)
    (evidence / "daemon.log").write_text("it said no\n")
    folder.close()
    return path
