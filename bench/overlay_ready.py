"""What the harness adds to an overlay's own time to get ready: ratios to a shell script, measured in one run.

`python -m bench.overlay_ready --json`. On the same lab, harness and script take turns at starting the same daemons with
the same files and waiting for the same lines and addresses; the script is what one would type by hand, looking every
5 ms. Both count from the first daemon's start.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.sandbox.unshare import sandbox_argv

if TYPE_CHECKING:
    from harness.lab.network import Lab
    from harness.overlay.contract import Deployment, Readiness, Service
    from harness.trial.deploy import RunningOverlay

OVERLAYS = ("openvpn:hub", "nebula:mesh", "wireguard:hub", "tinc:mesh")


def _wait(lab: Lab, service: Service, condition: Readiness, log: Path) -> str:
    """Shell text that ends when the condition holds."""
    if condition.kind == "log":
        test = f"grep -qE -- {shlex.quote(condition.pattern.replace(chr(92) + 'd', '[0-9]'))} {log}"
    elif condition.kind == "address":
        look = shlex.join(lab.nodes[service.node].enter(["ip", "-o", "address"]))
        test = f"{look} | grep -qF ' {condition.address}/'"
    else:
        test = shlex.join(lab.nodes[service.node].enter(condition.argv))
    return f"until {test}; do sleep 0.005; done"


def script(lab: Lab, deployment: Deployment, folder: Path) -> str:
    """Start the daemons in their order, wait for each, write how long that took, and wait to be killed."""
    lines = ["began=$(date +%s%N)"]
    left, up = list(deployment.services), set()
    while left:
        wave = [service for service in left if set(service.after) <= up]
        for service in wave:
            argv = ["env", *(f"{key}={value}" for key, value in service.env.items()), *service.argv]
            enter = shlex.join(lab.nodes[service.node].enter(argv))
            enter_at = f"cd {folder / 'nodes' / service.node} && export HOME=$PWD TMPDIR=$PWD"
            lines.append(f"({enter_at} && exec {enter}) >{folder / service.name}.log 2>&1 &")
        for service in wave:
            log = folder / f"{service.name}.log"
            lines += [_wait(lab, service, condition, log) for condition in service.ready]
            enter_at = f"cd {folder / 'nodes' / service.node}"
            for argv in service.configure:
                lines.append(f"({enter_at} && {shlex.join(lab.nodes[service.node].enter(argv))})")
        up |= {service.name for service in wave}
        left = [service for service in left if service not in wave]
    lines.append(f"echo $(($(date +%s%N) - began)) >{folder / 'took.new'}; mv {folder / 'took.new'} {folder / 'took'}")
    return "\n".join([*lines, "sleep infinity", ""])


def by_hand(lab: Lab, overlay: RunningOverlay, folder: Path) -> float:
    """Seconds that the script took; the harness only writes the files and prepares, as for itself."""
    overlay.prepare()
    (folder / "script.sh").write_text(script(lab, overlay.deployment, folder))
    shell = subprocess.Popen(
        ["sh", str(folder / "script.sh")], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(3000):
            if (folder / "took").exists():
                return int((folder / "took").read_text()) / 1e9
            time.sleep(0.01)
        raise SystemExit(f"{folder}: by hand it did not get ready in 30 s")
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait()
        # As PID 1 we inherit its daemons; the next round needs their ports and interfaces.
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-shell.pid, 0)


def by_harness(overlay: RunningOverlay) -> float:
    """Seconds that the harness measures."""
    overlay.start()
    overlay.stop()
    return overlay.time_to_ready_s


def _inside(name: str, mode: str, rounds: int, parent: Path) -> None:
    """PID 1 of a sandbox: one lab, both ways in turn."""
    from harness.lab.network import Lab
    from harness.model.probes import Probes
    from harness.model.trial import Trial
    from harness.overlay.registry import load_overlay
    from harness.overlay.search_path import search_path
    from harness.sandbox.mounts import make_private
    from harness.scenario.load import load_topology
    from harness.trial.deploy import RunningOverlay

    os.environ["PATH"] = search_path()
    make_private(parent)
    source = load_topology("two-sites")
    topology = source.resolve(source.complete({}))
    fields = {"id": "bench", "scenario": "bench", "repeat": 1, "seed": 1, "overlay": name, "mode": mode}
    trial = Trial.model_validate({**fields, "topology": topology, "probes": Probes(path={})})
    lab = Lab(topology, seed=1, link_choice="auto", workdir=parent)
    lab.start()
    took: dict[str, list[float]] = {"harness_s": [], "by_hand_s": []}
    for number in range(2 * rounds):
        folder = parent / str(number)
        folder.mkdir()
        overlay = RunningOverlay(lab, load_overlay(name).render(trial), folder)
        if number % 2:
            took["by_hand_s"].append(by_hand(lab, overlay, folder))
        else:
            took["harness_s"].append(by_harness(overlay))
    lab.stop()
    print(json.dumps(took))


def measure(case: str, rounds: int) -> dict[str, object]:
    """One overlay in a sandbox of its own."""
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "bench.overlay_ready", "--inside", case, folder, "--rounds", str(rounds)]
        done = subprocess.run(sandbox_argv(argv), capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        raise SystemExit(f"{case} failed: {done.stderr[-2000:]}")
    took: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    medians = {way: round(statistics.median(seconds), 3) for way, seconds in took.items()}
    ratio = round(medians["harness_s"] / medians["by_hand_s"], 2)
    return {**medians, "harness_to_by_hand": ratio, "all": {way: _rounded(all_) for way, all_ in took.items()}}


def _rounded(seconds: Sequence[float]) -> list[float]:
    return [round(one, 3) for one in seconds]


def main() -> None:
    """One line an overlay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--overlays", nargs="+", default=OVERLAYS, metavar="NAME:MODE")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        name, mode = arguments.inside[0].split(":")
        _inside(name, mode, arguments.rounds, Path(arguments.inside[1]))
        return
    result = {case: measure(case, arguments.rounds) for case in arguments.overlays}
    print(json.dumps(result, indent=None if arguments.json else 1))


if __name__ == "__main__":
    main()
