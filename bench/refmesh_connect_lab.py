"""The part of `bench.refmesh_connect` that runs daemons in a lab: the harness's own records and daemons' own logs.

A daemon is up once its server has answered: before, it starts Python (some tenths of a second) and does not yet know of
anybody. The harness counts from the start of the last daemon, which is the time that a user waits; refmesh's log tells
when both were up, and the first answered ping joins the two clocks, which are the same machine's.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

DELAYS_MS = (10, 50, 100)
"""One-way delay of each home's access link. The server's has none, so it is half way; a round trip is four of these."""
SLACK_S = 0.3
PING_EVERY_MS = 10
SCENARIO = """\
description: how soon a mesh of refmesh connects and is direct
topology: two-sites
params: {{nat_a: port-restricted, nat_b: port-restricted, link_a: {{delay_ms: {ms}}}, link_b: {{delay_ms: {ms}}}}}
overlays: {{refmesh: mesh}}
probes: {{path: {{deadline_s: 15, interval_ms: {every_ms}}}}}
"""
_REPLY = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from ", re.MULTILINE)
_UP = re.compile(r"^(\S+ \S+),(\d{3}) INFO server \S+ answers", re.MULTILINE)
_DIRECT = re.compile(r"^(\S+ \S+),(\d{3}) INFO \S+ is reached directly", re.MULTILINE)


class Times(NamedTuple):
    """Of one trial, in seconds."""

    start_to_up: float
    """From the start of the last daemon until both nodes' servers have answered."""
    up_to_first: float
    """From then to the first ping's arrival: that of its answer, less the way back."""
    up_to_direct: float
    """From then until both nodes send on the direct path."""
    up_to_pinged_direct: float
    """From then to the harness's word for it."""


def measure(delay_ms: int, runs: int) -> list[Times]:
    """Run the scenario `runs` times, one trial after the other. SystemExit with what the harness said if it fails."""
    with tempfile.TemporaryDirectory(prefix="connect-") as scratch:
        scenario, out = Path(scratch, "connect.yaml"), Path(scratch, "run")
        scenario.write_text(SCENARIO.format(ms=delay_ms, every_ms=PING_EVERY_MS))
        argv = [sys.executable, "-m", "harness.cli", "run", str(scenario), "--out", str(out)]
        done = subprocess.run(
            [*argv, "--jobs", "1", "--repeat", str(runs)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        figures: dict[str, dict[str, Any]] = {}
        for line in (out / "records.jsonl").read_text().splitlines():
            record = json.loads(line)
            if record["probe"] == "path":
                figures.setdefault(record["trial"], {})[record["metric"]] = record
        return [_times(out, trial, way_s=2 * delay_ms / 1000) for trial in figures.values()]


def _times(out: Path, trial: dict[str, Any], way_s: float) -> Times:
    connect, direct = trial["time_to_connect_s"], trial["time_to_direct_s"]
    if connect["value"] is None or direct["value"] is None:
        raise SystemExit(f"{connect['trial']}: no direct path: {connect['error']}")
    ping = (out / connect["evidence"]).read_text()
    first = _REPLY.search(ping)
    assert first is not None  # it was answered, or there would be no time_to_connect_s
    started_s = float(first.group(1)) - connect["value"]
    nodes = out / "trials" / connect["trial"] / "nodes"
    logs = [nodes / node / f"refmesh-{node}.log" for node in "ab"]
    up_s = max(_logged(log, _UP) for log in logs)
    since_s = up_s - started_s
    return Times(
        since_s,
        connect["value"] - way_s - since_s,
        max(_logged(log, _DIRECT) for log in logs) - up_s,
        direct["value"] - since_s,
    )


def _logged(log: Path, event: re.Pattern[str]) -> float:
    """Unix time of the first such line of a node's log, whose times are local ones."""
    found = event.search(log.read_text())
    if found is None:
        raise SystemExit(f"{log}: has no line {event.pattern}")
    return time.mktime(time.strptime(found.group(1), "%Y-%m-%d %H:%M:%S")) + int(found.group(2)) / 1000


def rows(runs: int) -> list[dict[str, Any]]:
    """Return a row for each round trip: medians, maxima, and how often a limit was missed."""
    made = []
    for delay_ms in DELAYS_MS:
        times, rtt_s = measure(delay_ms, runs), 4 * delay_ms / 1000
        row: dict[str, Any] = {"rtt_ms": 4 * delay_ms, "runs": len(times)}
        row["start_to_up_median_s"] = round(statistics.median(one.start_to_up for one in times), 3)
        row["pinged_direct_median_s"] = round(statistics.median(one.up_to_pinged_direct for one in times), 3)
        for name, values, limit_s in (
            ("first_packet", [one.up_to_first for one in times], rtt_s + SLACK_S),
            ("direct", [one.up_to_direct for one in times], 5 * rtt_s + SLACK_S),
        ):
            row |= judged(name, values, limit_s)
        made.append(row)
    return made


def judged(name: str, values: list[float], limit_s: float) -> dict[str, Any]:
    """Return a figure's columns."""
    return {
        f"{name}_median_s": round(statistics.median(values), 3),
        f"{name}_max_s": round(max(values), 3),
        f"{name}_limit_s": round(limit_s, 3),
        f"{name}_missed": sum(round(value - limit_s, 6) > 0 for value in values),
    }
