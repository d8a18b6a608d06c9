"""What many hosts cost and bring: `python -m bench.hosts [rate]`.

Without a word: the engine alone, 1,000 trials that take no time over four hosts that are no processes, in ms a trial;
and the way through a real station, in ms a trial. With `rate`: nat-matrix, punching only, by one host and by two (as
root in network namespaces of their own), with the same jobs a host; for a quiet machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "tests" / "unit"
JOBS = 4


def engine(trials: int = 1000) -> dict[str, float]:
    """Run trials that take no time: return seconds of the pool's own, and of a whole campaign with its disk."""
    sys.path.insert(0, str(UNIT))
    from fake_host import FACTS, Heard
    from pool_runs import FakeMember, campaign, plan

    from harness.hosts import pool as pools

    pools.harness_commit = lambda: FACTS.commit  # type: ignore[assignment]
    pools.platform.python_version = lambda: None  # type: ignore[assignment,return-value]
    with tempfile.TemporaryDirectory() as folder:
        planned = plan(Path(folder), repeats=trials // 18 + 1)
        chosen = planned.trials[:trials]
        pool = pools.Pool([FakeMember(f"h{n}") for n in range(4)])
        run = campaign(Path(folder), planned, pool, Heard())
        began, cpu = time.perf_counter(), time.process_time()
        run.run(chosen)
        whole = time.perf_counter() - began, time.process_time() - cpu
        own = asyncio.run(_engine_alone(pool, chosen, Path(folder)))
    return {
        "engine_s": own[0],
        "engine_cpu_s": own[1],
        "campaign_s": whole[0],
        "campaign_cpu_s": whole[1],
        "trials": len(chosen),
    }


async def _engine_alone(pool: Any, trials: Any, folder: Path) -> tuple[float, float]:
    from harness.overlay.contract import Deployment
    from harness.trial.messages import Job

    nothing = Deployment()
    began, cpu = time.perf_counter(), time.process_time()
    waiting, tasks = list(trials), set[Any]()
    target = folder / "evidence"
    target.mkdir()

    async def one(trial: Any) -> None:
        await pool.run(Job(trial=trial, deployment=nothing), target, lambda _: None)
        pool.leave(trial)

    while waiting or tasks:
        while (trial := pool.choose(waiting)) is not None:
            waiting.remove(trial)
            tasks.add(asyncio.create_task(one(trial)))
        _, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await pool.close()
    return time.perf_counter() - began, time.process_time() - cpu


def station(trials: int = 200) -> float:
    """Return the seconds a trial that takes no time costs through a real station, four side by side."""
    sys.path.insert(0, str(UNIT))
    from pool_runs import plan

    from harness.hosts.member import hand_over, in_pieces
    from harness.hosts.station_member import StationMember

    async def go(folder: Path) -> float:
        chosen = plan(folder, repeats=trials // 18 + 1).trials[:trials]
        member = StationMember("one", JOBS, (sys.executable, str(UNIT / "fake_station.py")), "bench")
        await member.open()
        await hand_over(member, list(in_pieces(chosen)))
        began, left = time.perf_counter(), list(chosen)

        async def worker() -> None:
            while left:
                await member.run(left.pop().id, lambda _: None)

        await asyncio.gather(*(worker() for _ in range(JOBS)))
        took = time.perf_counter() - began
        await member.close()
        return took / len(chosen)

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(go(Path(folder)))


@contextlib.contextmanager
def namespaces(count: int) -> Iterator[list[str]]:
    """Make network namespaces that stand for hosts."""
    names = [f"obench{os.getpid() % 10_000}{n}" for n in range(count)]
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True)
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


def rate(hosts: int, folder: Path, only: list[str], jobs: int) -> float:
    """Return trials a second of a run over so many hosts, from the first trial's start to the last one's end.

    Exits where it would not be the rate of so many hosts: a host was refused or lost, or a trial has not ended well.
    """
    with namespaces(hosts) as names:
        entries = "".join(
            f"  - {{name: h{n}, slots: {jobs}, through: [ip, netns, exec, {name}]}}\n" for n, name in enumerate(names)
        )
        file, out = folder / f"{hosts}.yaml", folder / f"run{hosts}"
        file.write_text(f"hosts:\n{entries}")
        scenario = folder / "punch.yaml"
        scenario.write_text(PUNCH)
        argv = [sys.executable, "-m", "harness.cli", "run", str(scenario), "--hosts", str(file), "--out", str(out)]
        done = subprocess.run([*argv, *(word for one in only for word in ("--only", one))], check=False, cwd=ROOT)
    if done.returncode not in (0, 1):  # 1: a trial that is looked at below
        sys.exit(f"{hosts} hosts: the run ended with exit code {done.returncode}")
    rows = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    ends = [row for row in rows if (row["probe"], row["metric"]) == ("trial", "duration_s")]
    if wrong := not_a_rate(hosts, ends, json.loads((out / "manifest.json").read_text())):
        sys.exit(f"{hosts} hosts: {wrong}")
    from datetime import datetime

    spans = [(datetime.fromisoformat(row["started_at"]).timestamp(), row["value"]) for row in ends]
    took = max(at + value for at, value in spans) - min(at for at, _ in spans)
    print(f"{hosts} hosts: {len(ends)} trials in {took:.1f} s, {len(ends) / took:.2f} a second", file=sys.stderr)
    return len(ends) / took


def not_a_rate(hosts: int, ends: list[dict[str, Any]], manifest: dict[str, Any]) -> str:
    """Return why these trials do not tell what so many hosts do; nothing where they do."""
    for key in ("hosts_refused", "hosts_lost"):
        if manifest.get(key):
            return f"{key}: {manifest[key]}"
    counts = Counter(str(row["host"]) for row in ends)
    if len(counts) != hosts:
        return f"trials ran on {len(counts)}"
    bad = [
        f"{row['trial']}: {row['outcome']} ({row['error']})" for row in ends if row["outcome"] not in ("ok", "failed")
    ]
    return bad[0] if bad else ""


PUNCH = """\
description: nat-matrix, punching only
topology: two-sites
pairs: {parameters: [nat_a, nat_b], values: [full-cone, address-restricted, port-restricted, symmetric]}
overlays: {refmesh: mesh}
probes: {path: {deadline_s: 10}}
repeats: 4
"""


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.hosts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=["rate"], help="without: the engine, and the way through a station")
    parser.add_argument("only", nargs="*", metavar="KEY=VALUE", help="with rate: what `run --only` takes")
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        help="with rate: of each host; more than this machine's processors carry say nothing of two machines",
    )
    asked = parser.parse_args()
    if asked.what == "rate":
        with tempfile.TemporaryDirectory() as folder:
            one, two = (rate(hosts, Path(folder), asked.only, asked.jobs) for hosts in (1, 2))
        print(f"two hosts do {two / one:.2f} times what one does, {asked.jobs} jobs each; wanted: 1.8")
        return
    found = engine()
    each_ms = 1000 * found["engine_s"] / found["trials"]
    used = f"{found['engine_cpu_s']:.2f} s of processor"
    print(f"engine: {found['engine_s']:.2f} s for {found['trials']} trials, {each_ms:.2f} ms each, {used}")
    print(f"a campaign of them: {found['campaign_s']:.2f} s, {found['campaign_cpu_s']:.2f} s of processor")
    print(f"through a station: {1000 * station():.1f} ms a trial")


if __name__ == "__main__":
    main()
