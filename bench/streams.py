"""Our stream tool against what is known: its sender against iperf3, its round trips against 60 us, on an ideal link.

    python -m bench.streams [--json] [--rounds N] [--seconds S]

In a sandbox of its own: two hosts and a cable that nothing impairs. Sender and iperf3 take turns in each direction;
what is compared is the median of the ratios of neighbours. The round trips are those that the stream probe reports: a
request and an answer of 64 bytes on one connection, both ends in Python.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.link_rigs import rig
from harness.calibration.link_rig import B_ADDRESS, Rig
from harness.machine.processors import processors_awake
from harness.probes import load_peer, stream_peer
from harness.sandbox.unshare import sandbox_argv

_PYTHON = [sys.executable, "-I", "-S"]
_LOAD, _PEER = ([*_PYTHON, str(Path(str(one.__file__)).resolve())] for one in (load_peer, stream_peer))
_PORT, _IPERF3_PORT = 7411, 5201
_OMIT_S = 1.0
_MOST_RTT_US, _MOST_DIFFERENCE = 60.0, 0.05


def _inside(pid: int, argv: list[str]) -> list[str]:
    return ["nsenter", "--target", str(pid), "--net", *argv]


@contextlib.contextmanager
def _serving(made: Rig, argv: list[str]) -> Iterator[None]:
    """Run a server at b that says that it listens."""
    server = subprocess.Popen(_inside(made.b, argv), stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if "listening" in line.lower():
                break
        yield
    finally:
        server.kill()
        server.wait()


def _client(made: Rig, argv: list[str]) -> dict[str, Any]:
    done = subprocess.run(_inside(made.a, argv), capture_output=True, text=True, timeout=120, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    if "error" in found:
        sys.exit(f"{' '.join(argv)}: {found['error']}")
    return found


def _ours_mbit(made: Rig, way: str, seconds: float) -> float:
    with _serving(made, [*_LOAD, "serve", B_ADDRESS, str(_PORT)]):
        verb = {"forward": "fill", "backward": "drain"}[way]
        found = _client(made, [*_LOAD, verb, B_ADDRESS, str(_PORT), str(_OMIT_S), str(seconds)])
    return float(found["bytes"]) * 8e-6 / float(found["seconds"])


def _iperf3_mbit(made: Rig, way: str, seconds: float) -> float:
    with _serving(made, ["iperf3", "-s", "-1", "-B", B_ADDRESS, "-p", str(_IPERF3_PORT), "--forceflush"]):
        where = ["-c", B_ADDRESS, "-p", str(_IPERF3_PORT), "-J", "-t", str(round(seconds)), "-O", str(round(_OMIT_S))]
        found = _client(made, ["iperf3", *where, *(["-R"] if way == "backward" else [])])
    return float(found["end"]["sum_received"]["bits_per_second"]) / 1e6


def throughput(made: Rig, rounds: int, seconds: float) -> dict[str, Any]:
    """Return, by direction, both tools' medians in Mbit/s and the median ratio of ours to iperf3's."""
    found: dict[str, Any] = {}
    for way in ("forward", "backward"):
        pairs = [(_ours_mbit(made, way, seconds), _iperf3_mbit(made, way, seconds)) for _ in range(rounds)]
        found[way] = {
            "sender_mbit": round(statistics.median(ours for ours, _ in pairs)),
            "iperf3_mbit": round(statistics.median(other for _, other in pairs)),
            "ratio": round(statistics.median(ours / other for ours, other in pairs), 4),
            "ratios": [round(ours / other, 3) for ours, other in pairs],
        }
    return found


def round_trips(made: Rig, rounds: int, seconds: float) -> dict[str, float]:
    """Return the median round trip of each of some runs, in us: the least and the median of them."""
    medians = []
    for _ in range(rounds):
        with _serving(made, [*_PEER, "serve", B_ADDRESS, str(_PORT)]):
            found = _client(made, [*_PEER, "trips", B_ADDRESS, str(_PORT), str(seconds), "64", "64", "0.01"])
        medians.append(1e6 * statistics.median(found["seconds"]))
    return {"median_us": round(statistics.median(medians), 1), "least_us": round(min(medians), 1)}


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """Measure everything; called inside a sandbox."""
    with processors_awake() as mechanism, rig("ideal") as made:
        loads = throughput(made, rounds, seconds)
        trips = round_trips(made, rounds, min(seconds, 2.0))
    held = trips["median_us"] < _MOST_RTT_US and all(
        abs(one["ratio"] - 1) <= _MOST_DIFFERENCE for one in loads.values()
    )
    return {"kept_awake": mechanism, "throughput": loads, "round_trips": trips, "holds": held}


def main() -> None:
    """Enter a sandbox, measure there and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        argv = sandbox_argv([sys.executable, "-m", "bench.streams", "--inside", *sys.argv[1:]])
        os.execvp(argv[0], argv)
    found = measure(options.rounds, options.seconds)
    if options.json:
        print(json.dumps(found))
        return
    for way, one in found["throughput"].items():
        print(f"{way}: sender {one['sender_mbit']} Mbit/s, iperf3 {one['iperf3_mbit']}, ratio {one['ratio']}")
    print(f"round trip {found['round_trips']['median_us']} us; {'holds' if found['holds'] else 'does not hold'}")


if __name__ == "__main__":
    main()
