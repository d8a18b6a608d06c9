"""The figures of computations from their evidence, by the definitions in results/README.md alone (numpy)."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.recompute.costs import ETHERNET_BYTES
from tests.recompute.evidence import Key, Run

WORKLOADS = ("chatty", "mixed", "bulk")


def computations(run: Run, trial: str, planned: dict[str, int]) -> dict[Key, Any]:
    """Return times and costs of each workload; `planned` is how many rounds there were to be."""
    found: dict[Key, Any] = {}
    for name in WORKLOADS:
        done = _rounds(run, f"trials/{trial}/overlay-{name}-rounds.csv")
        if done is None:
            continue
        below = _rounds(run, f"trials/{trial}/underlay-{name}-rounds.csv")
        found[f"{name}_rounds_done", None, None] = len(done)
        whole, base = (_whole(one, planned.get(name)) for one in (done, below))
        found[f"{name}_completion_s", None, None] = whole
        if below is not None:
            found[f"{name}_underlay_completion_s", None, None] = base
            if whole is not None and base:
                found[f"{name}_underlay_ratio", None, None] = whole / base
        lasted = sorted(1000 * (end - begun) for begun, end in done)
        lasted += [math.inf] * (planned.get(name, len(done)) - len(done))
        found[f"{name}_round_p50_ms", None, None] = _finite(float(np.median(lasted)))
        if len(lasted) >= 20:
            found[f"{name}_round_p95_ms", None, None] = _finite(lasted[math.ceil(0.95 * len(lasted) - 1e-9) - 1])
        found |= _cost(run, trial, name)
    return found


def outage(run: Run, trial: str, pairs: Sequence[tuple[str, str]]) -> dict[Key, Any]:
    """Return what went on while the server was dead, and when all was back."""
    when = run.json(f"trials/{trial}/overlay-availability.json")
    rounds = _rounds(run, f"trials/{trial}/overlay-availability-rounds.csv")
    if when is None or rounds is None:
        return {}
    ends = [end for _, end in rounds]
    begin, end, died, back = (when[key] for key in ("begin_s", "end_s", "from_s", "to_s"))

    def rate(from_s: float, to_s: float) -> float:
        return sum(from_s < moment <= to_s for moment in ends) / (to_s - from_s)

    # Runs before 2026-11-30 kept no moments at which the two began to be done, and counted up to when they were.
    dying, returning = when.get("began_s", died), when.get("ending_s", back)
    usual = rate(begin, dying)
    found: dict[Key, Any] = {("rounds_per_s", None, None): usual}
    if usual:
        found["availability", None, None] = rate(died, end if returning is None else returning) / usual
        if back is not None:
            found["availability_after", None, None] = rate(back, end) / usual
    since = died if back is None else back
    later = [moment for moment in ends if since < moment <= end]
    found["rounds_recovery_s", None, None] = min(later) - since if later else None
    slowest = [
        _first_answer(run, f"trials/{trial}/overlay-{a}-{b}-availability-pings.log", since, end) for a, b in pairs
    ]
    found["overlay_recovery_s", None, None] = (
        None if None in slowest else max(one for one in slowest if one is not None)
    )
    return found


def _first_answer(run: Run, log: str, since: float, end: float) -> float | None:
    """Seconds to the first answer of a ping that was sent after a moment."""
    text = (run.read(log) or b"").decode()
    for stamp, trip_ms in re.findall(r"^\[([\d.]+)\] \d+ bytes from .*time=([\d.]+) ms$", text, re.MULTILINE):
        if float(stamp) - float(trip_ms) / 1000 >= since and float(stamp) <= end:
            return float(stamp) - since
    return None


def _rounds(run: Run, name: str) -> list[tuple[float, float]] | None:
    """When each round had begun and when it was over, Unix seconds; None: there is no such evidence."""
    data = run.read(name)
    if data is None:
        return None
    return [(float(row["begun_s"]), float(row["finished_s"])) for row in csv.DictReader(io.StringIO(data.decode()))]


def _whole(rounds: list[tuple[float, float]] | None, planned: int | None) -> float | None:
    if not rounds or (planned is not None and len(rounds) < planned):
        return None
    return rounds[-1][1] - rounds[0][0]


def _cost(run: Run, trial: str, name: str) -> dict[Key, Any]:
    """Return what the server sent and its processes used, between the two readings around a workload."""
    windows = run.json(f"trials/{trial}/overlay-{name}-rounds.json") or []
    found: dict[Key, Any] = {}
    for one in windows:
        before, after = one["before"], one["after"]
        moved = after["received_bytes"] - before["received_bytes"]
        ways = [(side["links"].get("s-internet") or {}).get("up") for side in (before, after)]
        if moved and all(ways):
            frames, octets = (ways[1][key] - ways[0][key] for key in ("sent", "sent_bytes"))
            found[f"{name}_server_bytes_per_byte", None, None] = (octets - ETHERNET_BYTES * frames) / moved
        used = [side["usage"].get("s") for side in (before, after)]
        if all(used):
            found[f"{name}_server_cpu_s", None, None] = used[1]["cpu_s"] - used[0]["cpu_s"]
    return found


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
