"""Many refmesh nodes in one lab: how soon all pairs have a direct path, and what they cost when idle.

    python -m bench.refmesh_mesh [--nodes 50] [--deadline 120] [--profile FOLDER] [--json]      (the goals are for 200)

Each host has a cable to one router: on a bridge 50 hosts that all talk would need 2,450 neighbour entries, and Linux
keeps 1,024 for all its namespaces together (gc_thresh3). Times count from the start of the first daemon; Python's own
start is in them, and `all_up_s` says how much that is: nodes that start together share the processors. What nodes know
is read from their logs, which costs them nothing; only at the end each is asked once. How far it is, is said on stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from bench.refmesh_mesh_logs import Logs
from harness.machine.processors import processors_awake
from harness.sandbox.namespace import hold_namespace, netlink_inside, release_namespaces
from harness.sandbox.unshare import sandbox_argv
from overlays.refmesh.driver.status import ask
from overlays.refmesh.errors import MachineError
from overlays.refmesh.network import Site, make_network, to_yaml

IDLE_S = 10.0
SETTLE_S = 5.0
DEADLINE_S = 120.0
GOALS = {"all_known_s": 10.0, "all_direct_s": 60.0, "rss_mib_max": 60.0}
"""Of 200 nodes, each at most."""
MAX_NODES = 250
_LOOK_S, _SAY_S, _END_S = 0.2, 2.0, 20.0
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def _say(text: str) -> None:
    print(f"mesh: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _step(what: str) -> Iterator[None]:
    began_s = time.monotonic()
    yield
    _say(f"{what} in {time.monotonic() - began_s:.1f} s")


def _attach(pid: int, number: int) -> str:
    """Connect a host to the router, which is this process's own namespace; return the host's address."""
    router, host = f"45.9.{number}.1", f"45.9.{number}.2"
    name = f"v{number}"
    subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(pid)], check=True)
    with IPRoute() as netlink:
        index = netlink.link_lookup(ifname=name)[0]
        netlink.addr("add", index=index, address=router, prefixlen=24)
        netlink.link("set", index=index, state="up")
    with netlink_inside(pid) as netlink:
        index = netlink.link_lookup(ifname="eth0")[0]
        netlink.addr("add", index=index, address=host, prefixlen=24)
        netlink.link("set", index=index, state="up")
        netlink.route("add", gateway=router)
    return host


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _paths(folder: Path, names: list[str]) -> dict[str, int]:
    """Return how many ordered pairs have which path, by what each node says."""
    counts: dict[str, int] = {}
    for name in names:
        try:
            peers = ask(folder / f"{name}.sock", {})["peers"]
        except MachineError as error:
            _say(str(error))
            continue
        for peer in peers:
            counts[peer["path"]] = counts.get(peer["path"], 0) + 1
    return counts


def _await_direct(logs: Logs, daemons: dict[str, subprocess.Popen[bytes]], until: float) -> None:
    """Return once the logs say that all pairs have a direct path, a daemon has ended, or at that time."""
    said_s = -_SAY_S
    while not logs.complete and time.monotonic() < until:
        time.sleep(_LOOK_S)
        logs.read()
        ended = [name for name, daemon in daemons.items() if daemon.poll() is not None]
        if time.monotonic() - said_s >= _SAY_S or logs.complete or ended:
            said_s = time.monotonic()
            cpu_s = sum(_cpu_s(daemon.pid) for daemon in daemons.values())
            _say(f"{logs.progress()}, {cpu_s:.0f} s of processors, load {os.getloadavg()[0]:.1f}")
        if ended:
            raise SystemExit(f"mesh: {', '.join(ended)} ended by itself; its log: {logs.tail(ended[0])}")


def _start(folder: Path, name: str, pid: int, profile: Path | None) -> subprocess.Popen[bytes]:
    profiled = ("-m", "cProfile", "-o", str(profile / f"{name}.prof")) if profile and name in ("s", "n0") else ()
    command = "server" if name == "s" else "up"
    argv = [sys.executable, *profiled, "-m", "overlays.refmesh", command, "-c", str(folder / f"{name}.yaml")]
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(["nsenter", "-t", str(pid), "-n", "--", *argv], stderr=log)


def _inside(nodes: int, deadline_s: float, profile: Path | None) -> dict[str, Any]:
    names = [f"n{i}" for i in range(nodes)]
    with _step(f"{nodes + 1} namespaces"):
        hosts = {name: hold_namespace(name) for name in ["s", *names]}
    daemons: dict[str, subprocess.Popen[bytes]] = {}
    folder = Path(tempfile.mkdtemp(prefix="mesh-"))
    try:
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        with _step("cables"):
            addresses = {name: _attach(pid, number) for number, (name, pid) in enumerate(hosts.items())}
        with _step("certificates and configurations"):
            network = make_network(names, [Site("s", addresses["s"])])
            configs = {name: network.node_config(name, interface="rm0", status_socket=f"{name}.sock") for name in names}
            configs["s"] = network.server_config("s", status_socket="s.sock")
            for name, config in configs.items():
                (folder / f"{name}.yaml").write_text(to_yaml(config))
        logs = Logs(folder, names)
        started, started_unix_s = time.monotonic(), time.time()
        with _step("processes"):
            for name, pid in hosts.items():
                daemons[name] = _start(folder, name, pid, profile)
        _await_direct(logs, daemons, started + deadline_s)
        connecting = {name: _cpu_s(daemon.pid) for name, daemon in daemons.items()}
        time.sleep(SETTLE_S)
        before = {name: _cpu_s(daemon.pid) for name, daemon in daemons.items()}
        time.sleep(IDLE_S)
        idle = {name: (_cpu_s(daemon.pid) - before[name]) / IDLE_S for name, daemon in daemons.items()}
        rss = {name: _rss_mib(daemon.pid) for name, daemon in daemons.items()}
        with _step("asking all for their paths"):
            paths = _paths(folder, names)
        took_s = logs.took_s(started_unix_s)
        return {
            "nodes": nodes,
            "pairs": nodes * (nodes - 1) // 2,
            "paths": paths,
            "all_up_s": took_s["up"],
            "all_known_s": took_s["known"],
            "all_direct_s": took_s["direct"],
            "connect_cpu_s": round(sum(connecting.values()), 2),
            "connect_cpu_s_server": round(connecting["s"], 2),
            "idle_core_share_max": round(max(idle[name] for name in names), 4),
            "idle_core_share_mean": round(sum(idle[name] for name in names) / nodes, 4),
            "rss_mib_max": round(max(rss[name] for name in names), 1),
            "server_rss_mib": round(rss["s"], 1),
            "load": os.getloadavg()[0],
        }
    finally:
        _end(daemons, gently=profile is not None)
        release_namespaces(list(hosts.values()))


def _end(daemons: dict[str, subprocess.Popen[bytes]], *, gently: bool) -> None:
    """End all; `gently`: let those that are profiled write down what they found."""
    if gently:
        for name in {"s", "n0"} & daemons.keys():
            daemons[name].send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemons[name].wait(_END_S)
    for daemon in daemons.values():
        daemon.kill()
    for daemon in daemons.values():
        daemon.wait()


def main() -> None:
    """Goes into a sandbox of its own, measures there, prints. Exit status 1: a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--nodes", type=int, default=50, help=f"2 to {MAX_NODES}")
    parser.add_argument("--deadline", type=float, default=DEADLINE_S, help="seconds that a direct path may take")
    parser.add_argument("--profile", type=Path, help="write cProfile's s.prof and n0.prof to this folder")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not 2 <= options.nodes <= MAX_NODES:
        parser.error(f"--nodes: 2 to {MAX_NODES}")
    if not options.inside:
        command = [sys.executable, "-m", "bench.refmesh_mesh", *sys.argv[1:], "--inside"]
        with processors_awake():
            raise SystemExit(subprocess.run(sandbox_argv(command), check=False).returncode)
    if options.profile is not None:
        options.profile.mkdir(parents=True, exist_ok=True)
    result = _inside(options.nodes, options.deadline, options.profile)
    result["goals"] = judged(result)
    print(json.dumps(result, indent=2) if options.json else "\n".join(f"{k:<22} {v}" for k, v in result.items()))
    sys.exit("missed" in result["goals"].values())


def judged(result: dict[str, Any]) -> dict[str, str]:
    """Return what became of each goal; what never came is missed, however soon the deadline was."""
    complete = result["paths"].get("direct", 0) == 2 * result["pairs"]
    return {
        name: "pass"
        if result[name] is not None and result[name] <= limit and (complete or name != "all_direct_s")
        else "missed"
        for name, limit in GOALS.items()
    }


if __name__ == "__main__":
    main()
