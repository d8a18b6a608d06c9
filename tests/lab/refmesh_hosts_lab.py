"""Inside a sandbox: what happens to hosts happens to refmesh's. Prints what came of it as JSON.

python refmesh_hosts_lab.py CASE
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from refmesh_lab import NUMBERS, Lab, enter, must

CASES: dict[str, Callable[[], dict[str, Any]]] = {}


def case(function: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Makes it one that can be asked for by its name."""
    CASES[function.__name__.replace("_", "-")] = function
    return function


def mesh(lab: Lab, **options: Any) -> dict[str, str]:
    """Server and both nodes, directly connected; returns their overlay addresses."""
    network = lab.network()
    places = {name: {"status_socket": f"{name}.sock", "state_dir": f"{name}.state"} for name in NUMBERS}
    lab.start("s", network.server_config("s", **places["s"]), "server")
    for name in "ab":
        lab.start(name, network.node_config(name, interface="rm0", **places[name], **options), "up")
    lab.path("a", "direct")
    lab.path("b", "direct")
    return {name: address.split("/")[0] for name, address in network.addresses.items()}


def ended(lab: Lab, name: str, timeout_s: float = 10.0) -> dict[str, Any]:
    """How a daemon ended, and its last line; `code` None: it goes on."""
    daemon = lab.daemons[name]
    assert daemon.stderr is not None
    try:
        code = daemon.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return {"code": None, "said": ""}
    os.set_blocking(daemon.stderr.fileno(), True)
    return {"code": code, "said": daemon.stderr.read()}


def answers_in(lab: Lab, src: str, target: str, limit_s: float = 30.0) -> float | None:
    """Seconds until a ping is answered."""
    begin = time.monotonic()
    while time.monotonic() - begin < limit_s:
        argv = enter(lab.hosts[src], "ping", "-c", "1", "-W", "1", target)
        sent = time.monotonic()
        if not subprocess.run(argv, capture_output=True, check=False).returncode:
            return sent - begin
    return None


@case
def link_deleted() -> dict[str, Any]:
    lab = Lab("ipv4")
    mesh(lab)
    must(lab.hosts["a"], "ip", "link", "del", "rm0")
    return {"a": ended(lab, "a"), "socket_left": (lab.folder / "a.sock").exists()}


@case
def link_down() -> dict[str, Any]:
    lab = Lab("ipv4")
    addresses = mesh(lab)
    # Under traffic: packets wait in the device when it goes down.
    noise = subprocess.Popen(
        enter(lab.hosts["a"], "ping", "-q", "-f", "-c", "3000", addresses["b"]), stdout=subprocess.DEVNULL
    )
    for _ in range(3):
        must(lab.hosts["a"], "ip", "link", "set", "rm0", "down")
        must(lab.hosts["a"], "ip", "link", "set", "rm0", "up")
    noise.kill()
    noise.wait()
    return {"a": ended(lab, "a", 0.1), "answers_s": answers_in(lab, "a", addresses["b"])}


@case
def hub_link_deleted() -> dict[str, Any]:
    lab = Lab("ipv4")
    config = lab.network().server_config("s", hub=True, interface="rm0")
    lab.start("s", config, "server")
    must(lab.hosts["s"], "ip", "link", "del", "rm0")
    return {"s": ended(lab, "s")}


def main() -> None:
    """Runs one case; its hosts die with the sandbox."""
    print(json.dumps(CASES[sys.argv[1]]()))


if __name__ == "__main__":
    main()
