"""Made-up histories: result folders of one version after the other, with a known truth."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.results.frame import records_frame
from harness.results.loading import Results
from harness.results.record import Record
from harness.results.store import RunFolder, trial_lines

NAT_PAIRS = (("full-cone", "full-cone"), ("port-restricted", "port-restricted"), ("symmetric", "symmetric"))
SUBJECTS = (("refmesh", "mesh"), ("nebula", "mesh"))
# What each metric is in an unchanged world: its unit, its value, and the noise from trial to trial as a share of it.
WORLD: dict[str, tuple[str, float, float]] = {
    "time_to_ready_s": ("s", 0.8, 0.1),
    "time_to_connect_s": ("s", 0.3, 0.15),
    "rtt_p50_ms": ("ms", 44.0, 0.02),
    "rtt_p99_ms": ("ms", 48.0, 0.06),
    "underlay_rtt_p50_ms": ("ms", 42.0, 0.01),
    "tcp_throughput_mbit": ("Mbit/s", 36.0, 0.05),
    "tcp_throughput_ratio": ("1", 0.9, 0.04),
    "underlay_tcp_throughput_mbit": ("Mbit/s", 40.0, 0.03),
    "cpu_s_per_gb": ("s/GB", 20.0, 0.08),
}
PROBES = {"underlay_rtt_p50_ms": "latency", "rtt_p50_ms": "latency", "rtt_p99_ms": "latency"}
# (version number from 0, subject, NAT pair, metric) -> what the value is multiplied by.
Change = Callable[[int, str, tuple[str, str], str], float]
MACHINE = {"cpu_model": "x", "cpus": 2, "architecture": "arm64"}


def nothing(_version: int, _overlay: str, _nats: tuple[str, str], _metric: str) -> float:
    """Change nothing."""
    return 1.0


def world(
    change: Change = nothing,
    *,
    repeats: int = 5,
    seed: int = 1,
    between_sessions: float = 0.0,
    success: Callable[[int, str], float] = lambda _version, _overlay: 1.0,
) -> World:
    """Return what a history is drawn from; `between_sessions` spreads a factor that all trials of a session share."""
    return World(change, success, repeats, between_sessions, random.Random(seed))


def history(versions: int, change: Change = nothing, **settings: Any) -> list[Results]:
    """Return a run of each version."""
    made = world(change, **settings)
    found = []
    for version in range(versions):
        frame = records_frame([record.as_dict() for trial in made.trials(version) for record in trial])
        found.append(Results(Path(f"runs/v{version}"), manifest_of(version), [], frame, ()))
    return found


def folders(path: Path, versions: int, change: Change = nothing, **settings: Any) -> list[str]:
    """Write a result folder of each version, and return their names."""
    made = world(change, **settings)
    names = []
    for version in range(versions):
        folder = RunFolder(path / f"v{version}")
        folder.create(manifest_of(version), [])
        folder.write(map(trial_lines, made.trials(version)))
        folder.close()
        names.append(str(folder.path))
    return names


def manifest_of(version: int) -> dict[str, Any]:
    """Return what a version's manifest says."""
    return {
        "schema": 3,
        "scenario": "s",
        "started_at": f"2026-01-01T00:{version // 60:02}:{version % 60:02}+00:00",
        "machine": MACHINE,
        "labels": {"commit": f"c{version}"},
    }


@dataclass
class World:
    """What the versions of a history are drawn from."""

    change: Change
    success: Callable[[int, str], float]
    repeats: int
    between_sessions: float
    rng: random.Random

    def trials(self, version: int) -> list[list[Record]]:
        """Return the records of one version, a list per trial."""
        found: list[list[Record]] = []
        for overlay, mode in SUBJECTS:
            shared = {metric: 1 + self.rng.gauss(0, self.between_sessions) for metric in WORLD}
            for nats in NAT_PAIRS:
                for repeat in range(self.repeats):
                    factors = {name: shared[name] * self.change(version, overlay, nats, name) for name in WORLD}
                    same: dict[str, Any] = {
                        **{"run": "run", "scenario": "s", "trial": f"{overlay}-{'-'.join(nats)}-{repeat}"},
                        **{"repeat": repeat, "seed": repeat, "overlay": overlay, "overlay_version": f"1.{version}"},
                        **{"mode": mode, "topology": "two-sites", "nat_a": nats[0], "nat_b": nats[1], "link": "dsl"},
                        **{"params": {}, "started_at": "2026-01-01T00:00:00Z"},
                    }
                    found.append(self._trial(same, factors, up=self.rng.random() < self.success(version, overlay)))
        return found

    def _trial(self, same: dict[str, Any], factors: dict[str, float], *, up: bool) -> list[Record]:
        path = "relayed" if same["nat_a"] == "symmetric" else "direct"
        pair = {**same, "src": "a", "dst": "b", "path": path}
        found = [Record(**pair, probe="path", metric="connect_success", unit="1", value=float(up))]
        for metric, (unit, value, noise) in WORLD.items():
            drawn = value * factors[metric] * (1 + self.rng.gauss(0, noise))
            found.append(Record(**pair, probe=PROBES.get(metric, "throughput"), metric=metric, unit=unit, value=drawn))
        start = 0.3 * (1 + self.rng.gauss(0, 0.05))
        found.append(Record(**same, probe="lab", metric="lab_start_s", unit="s", value=start))
        outcome: Any = "ok" if up else "failed"
        return [*found, Record(**same, probe="trial", metric="duration_s", unit="s", value=12.0, outcome=outcome)]
