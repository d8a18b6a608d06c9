"""How well links are emulated: accuracy, throughput, rate, loss, memory; against a bare cable and vde2's wirefilter.

    python -m bench.link [--json] [--only SECTION]...

Every section runs in a sandbox of its own, and what is compared is measured in the same one. `netem` is measured only
when asked for, in a guest under software emulation (tests/netem/boot.sh): its accuracy against userlink's, not speed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from bench.link_rigs import DELAY_MS, hogs, rig, wirefilter
from harness.calibration.link_judge import CABLE, queued_rate_mbit
from harness.calibration.link_rig import A_ADDRESS, B_ADDRESS, Rig, python, run
from harness.calibration.link_traffic import Seen, Stream, run_stream
from harness.link.backend import Cable
from harness.link.choose import choose_backend
from harness.link.offload import WHOLE_FRAMES, set_offloads
from harness.link.userlink_backend import UserlinkLinks
from harness.machine.processors import processors_awake
from harness.model.link import parse_link
from harness.sandbox.namespace import inside_network_of
from harness.sandbox.unshare import sandbox_argv

PROBE = Stream(6000, 1000, 200)
# Under software emulation a packet costs some hundred microseconds.
GUEST_PROBE = Stream(1000, 5000, 200)
DELAYED = {"delay_ms": DELAY_MS}
# Every frame is drawn for, and TCP loses nothing that would slow it: a flipped bit in 10^9 frames.
DRAWN = {"delay_ms": DELAY_MS, "corrupt_percent": 1e-7}


def stream_through(made: Rig, stream: Stream = PROBE) -> Seen:
    """Return the stream from a to b."""
    ends = made.udp_socket(made.a, A_ADDRESS), made.udp_socket(made.b, B_ADDRESS)
    return run_stream(stream, *ends, patience_s=0.3)


def errors_us(seen: Seen, delay_ms: float) -> dict[str, float]:
    """Percentiles of (one-way delay - declared delay)."""
    known = [(at - seen.sent_ns[number]) / 1e6 for number, at in seen.arrived if number not in seen.doubtful]
    errors = (np.array(known) - delay_ms) * 1000
    names = {"p1": 1, "p50": 50, "p95": 95, "p99": 99, "p99.9": 99.9}
    return {name: round(float(np.percentile(errors, q)), 1) for name, q in names.items()}


def accuracy() -> dict[str, Any]:
    """One-way delay error of a 10 ms link at 1,000 packets a second."""
    # The sender must not be what is late next to the hogs; they do not inherit its priority.
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    found: dict[str, Any] = {}
    with rig("ideal") as made:
        found["bare cable"] = errors_us(stream_through(made), 0)
    for name, count in (("idle", 0), ("two hogs", 2)):
        with rig(DELAYED) as made, hogs(count):
            found[name] = errors_us(stream_through(made), DELAY_MS)
            assert made.links is not None
            account = made.links.accounting()
            found[name]["helper_lateness_p99"] = round(account.lateness_us(0.99) or 0, 1)
            found[name]["helper_realtime"] = account.realtime
    with wirefilter() as made_or_text:
        if isinstance(made_or_text, str):
            found["wirefilter"] = made_or_text
        else:
            found["wirefilter"] = errors_us(stream_through(made_or_text), DELAY_MS)
            ours, theirs = (abs(found[name]["p99"]) for name in ("idle", "wirefilter"))
            found["p99 of wirefilter over ours"] = round(theirs / ours, 1)
    found["targets"] = {"idle": {"p50": 60, "p99": 200}, "two hogs": {"p50": 20, "p99": 60}}
    return found


def tcp_mbit(made: Rig, seconds: int = 6) -> float:
    """Goodput in Mbit/s of one TCP stream from a to b, without its first two seconds."""
    server = subprocess.Popen(
        ["nsenter", "--target", str(made.b), "--net", "iperf3", "-s", "-1", "--forceflush"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    while "listening" not in server.stdout.readline():
        pass
    # By socket: a kernel with another default keeps cubic from namespaces.
    client = ["iperf3", "-c", B_ADDRESS, "-J", "-Z", "-C", "cubic", "-O", "2", "-t", str(seconds)]
    said = json.loads(run("nsenter", "--target", str(made.a), "--net", *client))
    server.wait()
    return round(said["end"]["sum_received"]["bits_per_second"] / 1e6, 1)


def throughput() -> dict[str, Any]:
    """One TCP stream over a 10 ms link and over a bare cable; nodes hand over bundles, or cut them themselves."""
    found: dict[str, Any] = {}
    with rig("ideal") as made:
        found["bare cable, offloads on, Mbit/s"] = tcp_mbit(made)
        _let_nodes_cut(made)
        found["bare cable, offloads off, Mbit/s"] = tcp_mbit(made)
    paced = {**DRAWN, "rate_mbit": 4500, "queue_ms": 10}
    for name, spec, bundles in (
        ("delay alone", DELAYED, True),
        ("every frame drawn for", DRAWN, True),
        ("at 4.5 Gbit/s, drawn for", paced, True),
        ("nodes cut, drawn for", DRAWN, False),
    ):
        with rig(spec) as made:
            assert made.links is not None
            if not bundles:
                _let_nodes_cut(made)
            mbit = tcp_mbit(made)
            account = made.links.accounting()
            assert account.cpu_s is not None
            assert account.wall_s is not None
            found[f"{name}, Mbit/s"] = mbit
            frames = sum(way.received for way in account.counts[CABLE].values())
            found[f"{name}, helper's share of a processor"] = round(account.cpu_s / account.wall_s, 2)
            found[f"{name}, processor us a frame"] = round(1e6 * account.cpu_s / frames, 2)
            found[f"{name}, what accounting says"] = account.violation()
    with wirefilter() as made_or_text:
        found["wirefilter, Mbit/s"] = made_or_text if isinstance(made_or_text, str) else tcp_mbit(made_or_text)
    for name, bare in (("every frame drawn for", "on"), ("nodes cut, drawn for", "off")):
        cable = found[f"bare cable, offloads {bare}, Mbit/s"]
        found[f"{name} over bare cable, offloads {bare}"] = round(found[f"{name}, Mbit/s"] / cable, 3)
    found["targets"] = {"every frame drawn for, Mbit/s": 1500, "delay alone, Mbit/s": 4000}
    return found


def _let_nodes_cut(made: Rig) -> None:
    for pid in (made.a, made.b):
        with inside_network_of(pid):
            set_offloads("eth0", WHOLE_FRAMES, on=False)


def moderate_load() -> dict[str, Any]:
    """One TCP stream over a link of 100 Mbit/s, which two processors must carry without trouble."""
    with rig({"delay_ms": 4, "rate_mbit": 100, "queue_ms": 30}) as made:
        assert made.links is not None
        mbit = tcp_mbit(made)
        account = made.links.accounting()
    assert account.cpu_s is not None
    assert account.wall_s is not None
    frames = sum(way.received for way in account.counts[CABLE].values())
    return {
        "Mbit/s": mbit,
        "helper's share of a processor": round(account.cpu_s / account.wall_s, 2),
        "processor us a frame": round(1e6 * account.cpu_s / frames, 2),
        "lateness us": {f"p{100 * q:g}": round(account.lateness_us(q) or 0, 1) for q in (0.5, 0.99)},
        "helper_realtime": account.realtime,
        "what accounting says": account.violation(),
    }


def rates() -> dict[str, Any]:
    """Error of the rate in percent, from 1 to 500 Mbit/s, by UDP at a quarter more than it."""
    found: dict[str, Any] = {}
    for rate in (1, 5, 20, 100, 250, 500):
        frame = 1486
        gap_us = frame * 8 / rate / 1.25
        stream = Stream(int((4e6 if rate < 10 else 2e6) / gap_us), gap_us, frame - 14)
        with rig({"delay_ms": 1, "rate_mbit": rate, "queue_ms": 50}) as made:
            assert made.links is not None
            seen = stream_through(made, stream)
            violation = made.links.accounting().violation()
        observed, count = queued_rate_mbit(seen, packet_bytes=frame, nominal_mbit=rate, delay_ms=1)
        error_percent = round(100 * (observed / rate - 1), 3)
        found[f"{rate} Mbit/s"] = {"error_percent": error_percent, "packets": count, "what accounting says": violation}
    found["target"] = {"error_percent": 1}
    return found


def losses() -> dict[str, Any]:
    """Loss over 100,000 packets against its 99 % binomial interval."""
    found: dict[str, Any] = {}
    for percent in (0.1, 1.0, 10.0):
        stream = Stream(100_000, 40, 100)
        with rig({"delay_ms": 1, "loss_percent": percent}) as made:
            seen = stream_through(made, stream)
        low, high = stats.binom.interval(0.99, stream.count, percent / 100)
        found[f"{percent:g} %"] = {
            "lost": seen.lost,
            "interval": [int(low), int(high)],
            "ok": bool(low <= seen.lost <= high),
        }
    return found


def many_links() -> dict[str, Any]:
    """200 links in one process: its memory, and the time to start it."""
    count = 200
    for number in range(count):
        run(*f"ip link add n{number} type veth peer name x{number}".split())
        run(*f"ip link add f{number} type veth peer name y{number}".split())
        for side in "nf":
            run(*f"ip link set {side}{number} up".split())
    profile = parse_link("lte")
    cables = [Cable(str(number), profile, f"n{number}", f"f{number}") for number in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        links = choose_backend("userlink").start(cables, netns_pid=os.getpid(), seed=1, workdir=Path(folder))
        started_s = time.monotonic() - begin
        assert isinstance(links, UserlinkLinks)
        usage = links.usage()
        links.close()
    return {
        "resident_mb": round(usage["resident_kb"] / 1024, 2),
        "start_s": round(started_s, 3),
        "target": {"resident_mb": 10},
    }


def ideal() -> dict[str, Any]:
    """Measure what an unimpaired link costs against a bare veth pair: nothing is in its path, so the ratio is one."""
    found: dict[str, Any] = {}
    with rig("ideal") as made:
        found["ideal link, one-way us"] = errors_us(stream_through(made), 0)
        found["helper"] = None if made.links is None else "present"
    return found


def netem() -> dict[str, Any]:
    """Delay error of a 10 ms link by netem and by userlink, both in the guest: what they share is emulation's."""
    boot = Path(__file__).parents[1] / "tests" / "netem" / "boot.sh"
    subprocess.run([boot, "bench=bench.link,--inside,in_guest"], stdout=sys.stderr, check=True)
    found: dict[str, Any] = json.loads((boot.parents[2] / "build" / "netem" / "out" / "bench.json").read_text())
    return found


def in_guest() -> dict[str, Any]:
    """Return what `netem` measures, run by tests/netem/run-in-guest."""
    found: dict[str, Any] = {}
    with rig("ideal") as made:
        found["bare cable"] = errors_us(stream_through(made, GUEST_PROBE), 0)
    for backend in ("netem", "userlink"):
        with rig(DELAYED, backend) as made:
            found[backend] = errors_us(stream_through(made, GUEST_PROBE), DELAY_MS)
    return found


SECTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "accuracy": accuracy,
    "throughput": throughput,
    "moderate_load": moderate_load,
    "rates": rates,
    "losses": losses,
    "many_links": many_links,
    "ideal": ideal,
}
# Boots a machine of its own, and is no sandbox's business.
OUTSIDE: dict[str, Callable[[], dict[str, Any]]] = {"netem": netem}
INSIDE = {**SECTIONS, "in_guest": in_guest}


def main() -> None:
    """Run the sections asked for, each in a sandbox."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print everything as JSON at the end")
    parser.add_argument(
        "--only", action="append", choices={**SECTIONS, **OUTSIDE}, help="only this section; may be repeated"
    )
    parser.add_argument("--inside", choices=INSIDE, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(INSIDE[options.inside]()))
        return
    results: dict[str, Any] = {}
    with processors_awake():
        _measure(options.only or list(SECTIONS), results)
    if options.json:
        print(json.dumps(results, indent=1))


def _measure(names: list[str], results: dict[str, Any]) -> None:
    for name in names:
        if name in OUTSIDE:
            results[name] = OUTSIDE[name]()
        else:
            argv = sandbox_argv(python("bench.link", "--inside", name))
            done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
            results[name] = json.loads(done.stdout)
        print(f"{name}: {json.dumps(results[name], indent=1)}", file=sys.stderr)


if __name__ == "__main__":
    main()
