"""Many refmesh nodes in one lab: how soon all pairs have a direct path, and what they cost when idle.

    python bench/refmesh_mesh.py [--nodes 50] [--json]        (the goals are for 200)

Each host has a cable to one router: on a bridge 50 hosts that all talk would need 2,450 neighbour entries, and Linux
keeps 1,024 for all its namespaces together (gc_thresh3). Times count from the start of the first daemon; Python's own
start is in them. Nodes are asked one after the other, each until all its paths are direct: what asking costs would
otherwise be part of what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from harness.machine.processors import processors_awake
from harness.sandbox.namespace import hold_namespace, netlink_inside, release_namespaces
from harness.sandbox.unshare import sandbox_argv
from overlays.refmesh.driver.status import ask
from overlays.refmesh.errors import MachineError
from overlays.refmesh.network import Site, make_network, to_yaml

REFMESH = (sys.executable, "-m", "overlays.refmesh")
IDLE_S = 10.0
DEADLINE_S = 120.0
GOALS = {"all_known_s": 10.0, "all_direct_s": 60.0, "rss_mib_max": 60.0}
"""Of 200 nodes, each at most."""
_ASK_EVERY_S = 0.2
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


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


def _await_known(folder: Path, names: list[str], until: float) -> None:
    """Return once each node has been seen to know all others, or at that time."""
    for name in names:
        while sum(_paths(folder, [name]).values()) < len(names) - 1 and time.monotonic() < until:
            time.sleep(_ASK_EVERY_S)


def _await_direct(folder: Path, names: list[str], until: float) -> None:
    """Return once each node has been seen with a direct path to all others, or at that time."""
    for name in names:
        while _paths(folder, [name]).get("direct", 0) < len(names) - 1 and time.monotonic() < until:
            time.sleep(_ASK_EVERY_S)


def _paths(folder: Path, names: list[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        try:
            peers = ask(folder / f"{name}.sock", {})["peers"]
        except MachineError:
            continue
        for peer in peers:
            counts[peer["path"]] = counts.get(peer["path"], 0) + 1
    return counts


def _inside(nodes: int) -> dict[str, Any]:
    names = [f"n{i}" for i in range(nodes)]
    hosts = {name: hold_namespace(name) for name in ["s", *names]}
    daemons: dict[str, subprocess.Popen[bytes]] = {}
    folder = Path(tempfile.mkdtemp(prefix="mesh-"))
    try:
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        addresses = {name: _attach(pid, number) for number, (name, pid) in enumerate(hosts.items())}
        network = make_network(names, [Site("s", addresses["s"])])
        configs = {name: network.node_config(name, interface="rm0", status_socket=f"{name}.sock") for name in names}
        configs["s"] = network.server_config("s", status_socket="s.sock")
        started = time.monotonic()
        for name, pid in hosts.items():
            (folder / f"{name}.yaml").write_text(to_yaml(configs[name]))
            command = "server" if name == "s" else "up"
            argv = ["nsenter", "-t", str(pid), "-n", "--", *REFMESH, command, "-c", str(folder / f"{name}.yaml")]
            daemons[name] = subprocess.Popen(argv, stderr=(folder / f"{name}.log").open("wb"))
        _await_known(folder, names, started + DEADLINE_S)
        known_s = time.monotonic() - started
        wanted, counts, took_s = nodes * (nodes - 1), dict[str, int](), 0.0
        while counts.get("direct", 0) < wanted and time.monotonic() - started < DEADLINE_S:
            _await_direct(folder, names, started + DEADLINE_S)
            took_s = time.monotonic() - started
            counts = _paths(folder, names)
        connecting = {name: _cpu_s(daemon.pid) for name, daemon in daemons.items()}
        time.sleep(5.0)
        before = {name: _cpu_s(daemon.pid) for name, daemon in daemons.items()}
        time.sleep(IDLE_S)
        idle = {name: (_cpu_s(daemon.pid) - before[name]) / IDLE_S for name, daemon in daemons.items()}
        rss = {name: _rss_mib(daemon.pid) for name, daemon in daemons.items()}
        return {
            "nodes": nodes,
            "pairs": wanted // 2,
            "paths": counts,
            "all_known_s": round(known_s, 2),
            "all_direct_s": round(took_s, 2),
            "connect_cpu_s": round(sum(connecting.values()), 2),
            "connect_cpu_s_server": round(connecting["s"], 2),
            "idle_core_share_max": round(max(idle[name] for name in names), 4),
            "idle_core_share_mean": round(sum(idle[name] for name in names) / nodes, 4),
            "rss_mib_max": round(max(rss[name] for name in names), 1),
            "server_rss_mib": round(rss["s"], 1),
            "load": os.getloadavg()[0],
        }
    finally:
        for daemon in daemons.values():
            daemon.kill()
            daemon.wait()
        release_namespaces(list(hosts.values()))


def main() -> None:
    """Goes into a sandbox of its own, measures there, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--inside"]
        with processors_awake():
            raise SystemExit(subprocess.run(sandbox_argv(command), check=False).returncode)
    result = _inside(options.nodes)
    # What never came counts as missed, however soon the deadline was.
    complete = result["paths"].get("direct", 0) == 2 * result["pairs"]
    result["goals"] = {
        name: "pass" if result[name] <= limit and (complete or name == "rss_mib_max") else "missed"
        for name, limit in GOALS.items()
    }
    print(json.dumps(result, indent=2) if options.json else "\n".join(f"{k:<22} {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
