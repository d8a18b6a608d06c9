"""refmesh against its rivals: TCP throughput, added round trip and CPU per gigabyte, in one lab and one run.

    python bench/refmesh.py [--json] [--seconds 3] [--rounds 3] [--only NAME]...

Two hosts (network namespaces) joined by one veth; the subjects take turns, round by round, each round beginning with
another one. Ratios within a round are the result, with their spread over the rounds and the goal that they should meet;
the absolute figures are this machine's. `idle_share`, of all processors during the throughput, says whether there was
one left over that a program with more threads could have used. Rivals: Debian's four, and what `overlaybench install
tailscale nebula-go` has built; WireGuard in the kernel where it has that. What is not there is named as missing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from refmesh_goals import judged, lines
from refmesh_subjects import CONTROL, SUBJECTS, A, B, Subject

from harness.machine.describe import harness_commit
from harness.machine.processors import processors_awake
from harness.overlay.search_path import search_path
from harness.sandbox.namespace import hold_namespace, release_namespaces
from harness.sandbox.unshare import sandbox_argv

PINGS = 300
START_DEADLINE_S = 40.0
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class _Absent(Exception):
    """A subject did not come up in a round: with the ends of its logs."""


def _enter(pid: int, argv: Sequence[str]) -> list[str]:
    return ["nsenter", "-t", str(pid), "-n", "-m", "--", *argv]


def _must(pid: int, *argv: str) -> str:
    done = subprocess.run(_enter(pid, argv), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"`{' '.join(argv)}` ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


@contextlib.contextmanager
def _running(subject: Subject, hosts: dict[str, int], folder: Path) -> Iterator[list[int]]:
    daemons = []
    try:
        for number, (host, argv) in enumerate(subject.prepare(folder)):
            log = (folder / f"{number}.log").open("wb")
            daemons.append(subprocess.Popen(_enter(hosts[host], argv), stdout=log, stderr=log, cwd=folder))
        end = time.monotonic() + START_DEADLINE_S
        while subprocess.run(
            _enter(hosts["a"], ("ping", "-c1", "-W1", subject.target)), capture_output=True, check=False
        ).returncode:
            if time.monotonic() > end:
                logs = "\n".join(path.read_text(errors="replace")[-600:] for path in sorted(folder.glob("*.log")))
                raise _Absent(f"{subject.name} does not come up:\n{logs}")
            time.sleep(0.1)
        yield [daemon.pid for daemon in daemons if daemon.poll() is None]
    finally:
        for daemon in daemons:
            with contextlib.suppress(ProcessLookupError):
                daemon.send_signal(signal.SIGKILL)
            daemon.wait()
        if subject.kernel:
            for host in hosts.values():
                subprocess.run(_enter(host, ("ip", "link", "del", "vpn0")), capture_output=True, check=False)
        end = time.monotonic() + 5
        while (
            b"vpn0"
            in subprocess.run(_enter(hosts["b"], ("ip", "-br", "link")), capture_output=True, check=False).stdout
            and time.monotonic() < end
        ):
            time.sleep(0.02)


def _idle_and_all() -> tuple[int, int]:
    """Return the ticks in which the processors had nothing to do, and all of them; see proc_stat(5)."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def _throughput(hosts: dict[str, int], target: str, seconds: float, pids: Sequence[int]) -> dict[str, float]:
    """Return Mbit/s of TCP payload, CPU seconds of the daemons per gigabyte, and the processors' idle share."""
    server = subprocess.Popen(
        _enter(hosts["b"], ("iperf3", "-s", "-1", "--forceflush", "-B", target)), stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    for line in server.stdout:
        if "listening" in line:
            break
    before, idle_before = sum(map(_cpu_s, pids)), _idle_and_all()
    result = json.loads(_must(hosts["a"], "iperf3", "-c", target, "-t", str(seconds), "-J"))
    used_s, idle_after = sum(map(_cpu_s, pids)) - before, _idle_and_all()
    server.communicate()
    received = result["end"]["sum_received"]
    return {
        "tcp_mbit": received["bits_per_second"] / 1e6,
        "cpu_s_per_gb": used_s / (received["bytes"] / 1e9),
        "idle_share": (idle_after[0] - idle_before[0]) / max(1, idle_after[1] - idle_before[1]),
    }


def _round_trips(hosts: dict[str, int], target: str) -> list[float]:
    text = _must(hosts["a"], "ping", "-c", str(PINGS), "-i", "0.01", target)
    return [float(value) for value in re.findall(r"time=([\d.]+) ms", text)]


def _inside(options: argparse.Namespace) -> dict[str, Any]:
    hosts = {name: hold_namespace(name) for name in ("a", "b")}
    try:
        netns = {name: str(pid) for name, pid in hosts.items()}
        subprocess.run(
            [
                "ip",
                "link",
                "add",
                "eth0",
                "netns",
                netns["a"],
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                netns["b"],
            ],
            check=True,
        )
        for name, address in (("a", A), ("b", B), ("b", CONTROL)):
            _must(hosts[name], "ip", "addr", "add", f"{address}/24", "dev", "eth0")
            _must(hosts[name], "ip", "link", "set", "eth0", "up")
            _must(hosts[name], "ip", "link", "set", "lo", "up")
        return _measure(options, hosts)
    finally:
        release_namespaces(list(hosts.values()))


def _measure(options: argparse.Namespace, hosts: dict[str, int]) -> dict[str, Any]:
    subjects = [s for s in SUBJECTS if not options.only or s.name in options.only]
    missing = [s.name for s in subjects if not _there(s, hosts["a"])]
    figures: dict[str, dict[str, list[float | None]]] = {
        name: {"tcp_mbit": [], "rtt_ms": [], "cpu_s_per_gb": [], "idle_share": []}
        for name in ("underlay", *(s.name for s in subjects if s.name not in missing))
    }
    there = [subject for subject in subjects if subject.name not in missing]
    absent: dict[str, str] = {}
    for number in range(options.rounds):
        bare = _throughput(hosts, B, options.seconds, ())
        figures["underlay"]["tcp_mbit"].append(bare["tcp_mbit"])
        figures["underlay"]["idle_share"].append(bare["idle_share"])
        figures["underlay"]["rtt_ms"].append(statistics.median(_round_trips(hosts, B)))
        for subject in there[number % len(there) :] + there[: number % len(there)]:
            found: dict[str, float] = {}
            try:
                with (
                    tempfile.TemporaryDirectory(prefix="bench-") as folder,
                    _running(subject, hosts, Path(folder)) as pids,
                ):
                    # nsenter becomes the program, so its pid is the daemon's.
                    time.sleep(1.0)
                    found["rtt_ms"] = statistics.median(_round_trips(hosts, subject.target))
                    found |= _throughput(hosts, subject.target, options.seconds, pids)
            except _Absent as why:
                # The others' rounds stand: a rival that fails once in ten is no reason to lose an hour.
                absent[f"{subject.name}, round {number + 1}"] = str(why)
            for what, values in figures[subject.name].items():
                values.append(None if subject.kernel and what == "cpu_s_per_gb" else found.get(what))
    table = {
        name: {what: round(statistics.median(seen), 4) for what, values in row.items() if (seen := _seen(values))}
        for name, row in figures.items()
    }
    return {
        "machine": os.uname().release,
        "cpus": os.cpu_count(),
        "commit": harness_commit(),
        "missing": missing,
        "did_not_come_up": absent,
        "versions": {subject.name: subject.version() for subject in there},
        "figures": table,
        "rounds": figures,
        "goals": judged(figures),
    }


def _seen(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _there(subject: Subject, pid: int) -> bool:
    """Tell whether a subject can be measured: its programs are installed, and the kernel has its type of interface."""
    if any(shutil.which(program) is None for program in (subject.program, *subject.helpers)):
        return False
    if not subject.kernel:
        return True
    made = subprocess.run(
        _enter(pid, ("ip", "link", "add", "vpn0", "type", "wireguard")), capture_output=True, check=False
    )
    subprocess.run(_enter(pid, ("ip", "link", "del", "vpn0")), capture_output=True, check=False)
    return made.returncode == 0


def main() -> None:
    """Goes into a sandbox of its own, measures there, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=[s.name for s in SUBJECTS])
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["PATH"] = search_path()
    if not options.inside:
        command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--inside"]
        with processors_awake():
            raise SystemExit(subprocess.run(sandbox_argv(command), check=False).returncode)
    result = _inside(options)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for name, row in result["figures"].items():
        print(f"{name:<20}", *(f"{what} {value:>10.3f}" for what, value in row.items()))
    if result["missing"]:
        print("missing:", ", ".join(result["missing"]))
    print(*result["did_not_come_up"].values(), sep="\n", end="\n" if result["did_not_come_up"] else "")
    print(*lines(result["goals"]), sep="\n")


if __name__ == "__main__":
    main()
