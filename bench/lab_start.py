"""How fast a lab of many hosts on one bridge starts and stops: ratios measured in one run.

`python -m bench.lab_start --json`. Three ways take turns, each in a sandbox of its own and a process of its own:
*bare* is the kernel calls alone (fork, unshare, veth pair into place, attach, address), *ours* is the harness's lab,
*plain* is Mininet as it comes, with its own Host and LinuxBridge. Stopping ends when the interfaces are gone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from harness.errors import MissingPrerequisite
from harness.sandbox.unshare import sandbox_argv

UP_BOUND = 2.0
TOTAL_BOUND = 4.0


def _bare(hosts: int) -> tuple[Callable[[], None], Callable[[], None]]:
    from pyroute2 import IPRoute

    from harness.sandbox import syscalls
    from harness.sandbox.namespace import netlink_inside

    pids: list[int] = []
    sandbox = IPRoute()

    def up() -> None:
        sandbox.link("add", ifname="br0", kind="bridge", state="up")
        bridge = sandbox.link_lookup(ifname="br0")[0]
        for number in range(1, hosts + 1):
            ready, told = os.pipe()
            pid = os.fork()
            if pid == 0:
                syscalls.unshare(syscalls.CLONE_NEWNET | syscalls.CLONE_NEWNS)
                os.write(told, b"+")
                while True:
                    signal.pause()
            os.read(ready, 1)
            os.close(ready)
            os.close(told)
            pids.append(pid)
            peer = {"ifname": "eth0", "net_ns_pid": pid}
            sandbox.link("add", ifname=f"v{number}", kind="veth", peer=peer, master=bridge, state="up")
            inside = netlink_inside(pid)
            index = inside.link_lookup(ifname="eth0")[0]
            inside.addr("add", index=index, address=f"10.0.0.{number}", prefixlen=8)
            inside.link("set", index=index, state="up")
            inside.close()

    def down() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)
        sandbox.link("del", ifname="br0")

    return up, down


def _topo(hosts: int):  # type: ignore[no-untyped-def]
    from mininet.topo import Topo

    class OneBridge(Topo):  # type: ignore[misc]
        def build(self) -> None:
            switch = self.addSwitch("s1")
            for number in range(1, hosts + 1):
                self.addLink(self.addHost(f"h{number}"), switch)

    return OneBridge()


def _ours(hosts: int) -> tuple[Callable[[], None], Callable[[], None]]:
    from harness.lab.network import LabNet

    nets: list[LabNet] = []

    def up() -> None:
        nets.append(LabNet(_topo(hosts)))
        nets[0].start()

    def down() -> None:
        nets[0].stop()

    return up, down


def _plain(hosts: int) -> tuple[Callable[[], None], Callable[[], None]]:
    from mininet.net import Mininet
    from mininet.nodelib import LinuxBridge

    # Only what reaches outside the sandbox is left out: its sysctls and limits are the machine's.
    Mininet.inited = True
    nets: list[Mininet] = []

    def up() -> None:
        nets.append(Mininet(_topo(hosts), switch=LinuxBridge, controller=None))
        nets[0].start()

    def down() -> None:
        nets[0].stop()

    return up, down


WAYS = {"bare": _bare, "ours": _ours, "plain": _plain}


def _inside(way: str, hosts: int) -> None:
    """Be the measured process, PID 1 of a sandbox; print two durations in seconds."""
    subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)
    up, down = WAYS[way](hosts)
    started = time.perf_counter()
    up()
    up_s = time.perf_counter() - started
    started = time.perf_counter()
    down()
    while len(list(Path("/sys/class/net").iterdir())) > 1:
        time.sleep(0.001)
    print(json.dumps({"up_s": up_s, "down_s": time.perf_counter() - started}))


def measure(way: str, hosts: int) -> dict[str, float]:
    """One lab up and down, in ms a host."""
    argv = sandbox_argv([sys.executable, "-m", "bench.lab_start", "--inside", way, "--hosts", str(hosts)])
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        raise SystemExit(f"{way} failed: {done.stderr[-2000:]}")
    seconds = json.loads(done.stdout.splitlines()[-1])
    return {name.removesuffix("_s") + "_ms": 1000 * value / hosts for name, value in seconds.items()}


def main() -> None:
    """Take turns, then print medians with their spread and the two ratios that are promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inside", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        _inside(arguments.inside, arguments.hosts)
        return
    if shutil.which("brctl") is None:
        raise MissingPrerequisite("brctl, which plain Mininet's LinuxBridge needs", "apt-get install -y bridge-utils")
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(arguments.rounds):
        for way, measured in runs.items():
            measured.append(measure(way, arguments.hosts))
    up_ratios = [ours["up_ms"] / bare["up_ms"] for ours, bare in zip(runs["ours"], runs["bare"], strict=True)]
    total = {way: [one["up_ms"] + one["down_ms"] for one in measured] for way, measured in runs.items()}
    total_ratios = [plain / ours for plain, ours in zip(total["plain"], total["ours"], strict=True)]
    result = {
        "hosts": arguments.hosts,
        "rounds": arguments.rounds,
        "ms_per_host": {
            way: {name: sorted(round(one[name], 2) for one in measured) for name in ("up_ms", "down_ms")}
            for way, measured in runs.items()
        },
        "up_ours_to_bare": {
            "median": round(statistics.median(up_ratios), 2),
            "all": _rounded(up_ratios),
            "at_most": UP_BOUND,
        },
        "up_and_down_plain_to_ours": {
            "median": round(statistics.median(total_ratios), 2),
            "all": _rounded(total_ratios),
            "at_least": TOTAL_BOUND,
        },
    }
    print(json.dumps(result, indent=None if arguments.json else 1))


def _rounded(ratios: list[float]) -> list[float]:
    return [round(ratio, 2) for ratio in ratios]


if __name__ == "__main__":
    main()
