"""Count the valid trials of an ordinary user's labs while other processes work, and lateness by its cause.

    python -m bench.rootless [--load 0 1 2 3] [--runs R] [--scenario NAME] [--only KEY=VALUE ...] [--seed N] [--json]

The disturbance is bounded and seeded: two processes for each unit of load, each awake half of the time, reading a file
for some milliseconds and sleeping as long; they end with this program. The runs are those of user 65534 where root
starts this, who needs to be let into the checkout (`chmod o+x`). Prints a JSON line a run. `--lever` sets one of the
switches of `harness.link.precedence`, which are off by default.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_FILE_BYTES = 4 << 20
_AWAKE_S = 0.004
# Whatever becomes of us, no disturber outlives this.
_LONGEST_S = 900.0
LEVERS = {"none": {}, "batch": {"OVERLAYBENCH_LAB_POLICY": "batch"}, "pin": {"OVERLAYBENCH_PIN": "1"}}


def disturb(seed: int) -> None:
    """Wake and read until the process that started this one is gone, or the time is up."""
    rng, parent, began = random.Random(seed), os.getppid(), time.monotonic()
    with tempfile.TemporaryFile() as file:
        file.write(rng.randbytes(_FILE_BYTES))
        while os.getppid() == parent and time.monotonic() - began < _LONGEST_S:
            awake_until = time.monotonic() + rng.uniform(0.5, 1.5) * _AWAKE_S
            while time.monotonic() < awake_until:
                os.pread(file.fileno(), 4096, rng.randrange(_FILE_BYTES - 4096))
            time.sleep(rng.uniform(0.5, 1.5) * _AWAKE_S)


@contextlib.contextmanager
def disturbed(load: int, seed: int) -> Iterator[None]:
    """Keep so much load on the machine while open."""
    argv = [sys.executable, "-m", "bench.rootless", "--disturb"]
    started = [subprocess.Popen([*argv, str(seed + number)]) for number in range(2 * load)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def one_run(options: argparse.Namespace, load: int, folder: Path) -> dict[str, Any]:
    """Run the scenario once as an ordinary user, and say what came of its trials."""
    from tests.lab.running import NOBODY, without_privileges

    prefix = without_privileges()
    if any("reuid" in word for word in prefix):
        os.chown(folder, NOBODY, NOBODY)
    only = [word for one in options.only for word in ("--only", one)]
    argv = [*prefix, sys.executable, "-m", "harness.cli", "run", options.scenario, "--out", str(folder / "run"), *only]
    environment = {**os.environ, **LEVERS[options.lever], "HOME": str(folder)}
    began = time.monotonic()
    with disturbed(load, options.seed):
        done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    records = folder / "run" / "records.jsonl"
    if not records.exists():
        raise SystemExit(f"the run came to nothing: {done.stderr[-2000:]}")
    lines = [json.loads(line) for line in records.read_text().splitlines()]
    found = {"load": load, "lever": options.lever, "duration_s": round(time.monotonic() - began, 1)}
    return found | tally(lines) | {"waited": "too busy" in done.stderr}


def tally(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Count trials by outcome and overlay, and what was late while what was done. Pure."""
    ends = [one for one in lines if (one["probe"], one["metric"]) == ("trial", "duration_s")]
    invalid = [one for one in ends if one["outcome"] == "invalid"]
    causes = Counter(cause for one in invalid for cause in causes_of(one["error"] or ""))
    late = sorted(one["value"] for one in lines if one["metric"] == "link_lateness_p99_us" and one["value"])
    again = sum(one["value"] or 0 for one in lines if one["metric"] == "repeated_measurements")
    return {
        "trials": len(ends),
        "valid": len(ends) - len(invalid) - sum(one["outcome"] == "error" for one in ends),
        "invalid_by_overlay": dict(Counter(one["overlay"] for one in invalid)),
        "causes": dict(causes.most_common()),
        "lateness_p99_us": {"median": late[len(late) // 2], "worst": late[-1]} if late else {},
        "repeated_measurements": again,
    }


def causes_of(error: str) -> Iterator[str]:
    """Yield what was late or lost and while what was done, without links and numbers."""
    for part in error.split("; "):
        found = re.match(r"link \S+ (?:up|down): (.*)", part)
        if found:
            yield re.sub(r"\d+", "N", re.sub(r" \(p99 [^)]*\)", "", found[1]))


def main() -> None:
    """Run every load so many times; exit 1 when a trial was not valid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--disturb", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--load", type=int, nargs="+", default=[0, 2], choices=range(9))
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--scenario", default="demo")
    parser.add_argument("--only", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--lever", choices=LEVERS, default="none")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="as always: a JSON line a run")
    options = parser.parse_args()
    if options.disturb is not None:
        disturb(options.disturb)
        return
    spoilt = 0
    for load in options.load:
        for _ in range(options.runs):
            with tempfile.TemporaryDirectory(prefix="overlaybench-rootless-") as folder:
                Path(folder).chmod(0o755)
                found = one_run(options, load, Path(folder))
            spoilt += found["trials"] - found["valid"]
            print(json.dumps(found), flush=True)
    sys.exit(spoilt > 0)


if __name__ == "__main__":
    main()
