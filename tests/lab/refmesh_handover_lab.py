"""Inside a sandbox: two real daemons on a long way, one behind a NAT with random ports for each destination.

Birthday probing opens 256 sockets there, and on a long way several are hit before either end knows. What is sent must
arrive all the while that they are closed. Prints as JSON what was seen.

python -m tests.lab.refmesh_handover_lab SEED DELAY_MS FOLDER
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from harness.lab.network import Lab
from harness.model.template import render
from harness.sandbox.mounts import make_private
from harness.scenario.load import load_topology
from overlays.refmesh.core.handover import CLOSE_AFTER_S
from overlays.refmesh.driver.status import ask
from overlays.refmesh.network import Site, make_network, to_yaml
from tests.lab.ping_answers import FURTHER, answered

DIRECT_S, WATCH_S, LOOK_S = 40.0, CLOSE_AFTER_S + 7.0, 0.25
PORT, LOOPBACK = 40000, "7F"
# FURTHER is for pings at 0.2 s.
COUNTED, FURTHER_10 = int(10 * WATCH_S), 2 * FURTHER


def fresh(pid: int) -> int:
    """Return how many ports of a host punching has opened: those of its UDP sockets but for refmesh's own."""
    lines = Path(f"/proc/{pid}/net/udp").read_text().splitlines()[1:]
    places = [line.split()[1].split(":") for line in lines]
    return len({int(port, 16) for host, port in places if not host.endswith(LOOPBACK)} - {PORT})


def tell(lab: Lab, folder: Path) -> dict[str, Any]:
    """Run it."""
    network = make_network(["a", "b"], [Site("s", "45.45.0.10")])
    configs = {
        name: network.node_config(name, interface="rm0", listen_port=PORT, status_socket=f"{name}.sock")
        for name in "ab"
    }
    configs["s"] = network.server_config("s")
    daemons = {}
    for name, config in configs.items():
        (folder / f"{name}.yaml").write_text(to_yaml(config))
        argv = [sys.executable, "-m", "overlays.refmesh", "server" if name == "s" else "up"]
        with (folder / f"{name}.log").open("w") as log:
            daemons[name] = subprocess.Popen(
                lab.nodes[name].enter([*argv, "--config", str(folder / f"{name}.yaml")]), stderr=log
            )
    pids = {name: lab.nodes[name].pid for name in "ab"}
    sockets: dict[str, list[int]] = {"a": [], "b": []}
    paths: list[list[str]] = []

    def look() -> None:
        time.sleep(LOOK_S)
        for name, pid in pids.items():
            sockets[name].append(fresh(pid))
        peers = [ask(folder / f"{name}.sock", {})["peers"] for name in "ab"]
        paths.append([found[0]["path"] if found else "unknown" for found in peers])

    until_s = time.monotonic() + DIRECT_S
    while time.monotonic() < until_s and not all((folder / f"{name}.sock").exists() for name in "ab"):
        time.sleep(LOOK_S)
    while time.monotonic() < until_s and not (paths and set(paths[-1]) == {"direct"}):
        look()
    direct_at = len(paths)
    to = {"a": network.addresses["b"].split("/")[0], "b": network.addresses["a"].split("/")[0]}
    pings = {}
    for name, target in to.items():
        argv = ["ping", "-i", "0.1", "-W", "2", "-c", str(COUNTED + FURTHER_10), target]
        pings[name] = subprocess.Popen(lab.nodes[name].enter(argv), stdout=subprocess.PIPE, text=True)
    while any(ping.poll() is None for ping in pings.values()):
        look()
    said = [ping.communicate()[0] for ping in pings.values()]
    for daemon in daemons.values():
        daemon.kill()
        daemon.wait()
    return {
        "paths": sorted({path for both in paths[direct_at:] for path in both}),
        "lost": [COUNTED - answered(one, COUNTED) for one in said],
        "most_sockets": max(sockets["b"][:direct_at]),
        "sockets_left": [sockets[name][-1] for name in "ab"],
        "log": {name: (folder / f"{name}.log").read_text()[-1500:] for name in "ab"},
    }


def main() -> None:
    """Build, tell, take down."""
    seed, delay_ms, folder = int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
    make_private(folder)
    axes = {"nat_a": "port-restricted", "nat_b": "symmetric", "link_a": {"delay_ms": delay_ms}}
    topology = render(load_topology("two-sites").template, axes)
    lab = Lab(topology, seed=seed, link_choice="auto", workdir=folder)
    lab.start()
    print(json.dumps(tell(lab, folder)))
    lab.stop()


if __name__ == "__main__":
    main()
