"""Inside a sandbox: what happens to hosts happens to refmesh's. Prints what came of it as JSON.

python refmesh_hosts_lab.py CASE
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from refmesh_lab import NUMBERS, Lab, enter, must

NOISE = str(Path(__file__).parents[1] / "fuzz" / "refmesh_noise.py")
CASES: dict[str, Callable[[], dict[str, Any]]] = {}


def case(function: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Make it one that can be asked for by its name."""
    CASES[function.__name__.replace("_", "-")] = function
    return function


def mesh(lab: Lab, **options: Any) -> dict[str, str]:
    """Server and both nodes, directly connected; returns their overlay addresses."""
    network = lab.network()
    places = {name: {"status_socket": f"{name}.sock", "state_dir": f"{name}.state"} for name in NUMBERS}
    lab.start("s", network.server_config("s", **places["s"]), "server")
    for name in "ab":
        lab.start(name, network.node_config(name, interface="rm0", **places[name], **options), "up")
    for name in "ab":
        lab.path(name, "relayed" if options.get("mode") == "relay" else "direct")
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


def answers_in(lab: Lab, src: str, target: str, *options: str, limit_s: float = 30.0) -> float | None:
    """Seconds until a ping, with such options of ping(8), is answered."""
    begin = time.monotonic()
    while time.monotonic() - begin < limit_s:
        argv = enter(lab.hosts[src], "ping", "-c", "1", "-W", "1", *options, target)
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


def transfer(lab: Lab, src: str, dst: str, target: str, octets: int = 3_000_000) -> dict[str, Any]:
    """Octets that arrive of a TCP transfer, and whether they are the right ones; it is given 60 s."""
    sink = subprocess.Popen(enter(lab.hosts[dst], *PYTHON, RECEIVE, target), stdout=subprocess.PIPE, text=True)
    assert sink.stdout is not None
    sink.stdout.readline()  # it listens
    source = subprocess.Popen(enter(lab.hosts[src], *PYTHON, SEND, target, str(octets)))
    try:
        digest = sink.communicate(timeout=60)[0].strip()
    except subprocess.TimeoutExpired:
        digest = "stalled"
    for process in (source, sink):
        process.kill()
        process.wait()
    return {"intact": digest == hashlib.sha256(pattern(octets)).hexdigest(), "digest": digest}


def pattern(octets: int) -> bytes:
    return random.Random(octets).randbytes(octets)


PYTHON = (sys.executable, "-c")
RECEIVE = """
import hashlib, socket, sys
with socket.create_server((sys.argv[1], 5000)) as listener:
    print("listens", flush=True)
    connection, _ = listener.accept()
digest = hashlib.sha256()
while data := connection.recv(65536):
    digest.update(data)
print(digest.hexdigest())
"""
SEND = """
import random, socket, sys
octets = int(sys.argv[2])
with socket.create_connection((sys.argv[1], 5000)) as connection:
    connection.sendall(random.Random(octets).randbytes(octets))
"""


def narrow(lab: Lab, *, told: bool) -> None:
    """Make b's cable carry 1,460 octets: the hosts know, or a switch on the way drops what is longer."""
    if told:
        for name in "ab":
            must(lab.hosts[name], "ip", "link", "set", "eth0", "mtu", "1460")
    else:
        for name in "ab":
            subprocess.run(["ip", "link", "set", f"v{name}", "mtu", "1460"], check=True)


def known_limits(lab: Lab) -> list[int]:
    """Return what both nodes say that their path carries, once the status written now and then tells of the search."""
    until = time.monotonic() + 30
    while True:
        found = [int(lab.status(name)["peers"][0]["mtu"]) for name in "ab"]
        # 1,200 is what a search begins at.
        if all(1200 < limit <= 1392 for limit in found) or time.monotonic() > until:
            return found
        time.sleep(0.1)


def over_a_narrow_underlay(kind: str, *, told: bool, **options: Any) -> dict[str, Any]:
    lab = Lab(kind)
    narrow(lab, told=told)
    addresses = mesh(lab, **options)
    result = {
        "there": transfer(lab, "a", "b", addresses["b"])["intact"],
        "back": transfer(lab, "b", "a", addresses["a"])["intact"],
        "limits": known_limits(lab),
    }
    return result | {"large_ping_s": answers_in(lab, "a", addresses["b"], "-M", "dont", "-s", "1372")}


@case
def mtu_1460() -> dict[str, Any]:
    return over_a_narrow_underlay("ipv4", told=True)


@case
def mtu_1460_wireguard() -> dict[str, Any]:
    return over_a_narrow_underlay("ipv4", told=True, framing="wireguard")


@case
def mtu_1460_ipv6() -> dict[str, Any]:
    return over_a_narrow_underlay("ipv6", told=True)


@case
def mtu_1460_layer_2() -> dict[str, Any]:
    return over_a_narrow_underlay("ipv4", told=True, layer="l2")


@case
def mtu_1460_relayed() -> dict[str, Any]:
    return over_a_narrow_underlay("ipv4", told=True, mode="relay")


@case
def black_hole() -> dict[str, Any]:
    return over_a_narrow_underlay("ipv4", told=False)


def rss_mib(lab: Lab, name: str) -> float:
    """Return the memory of a daemon that is in use."""
    pages = int(Path(f"/proc/{lab.daemons[name].pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def hostile_programs(layer: str) -> dict[str, Any]:
    """Let a program with CAP_NET_RAW on a's host send anything into a's device, first to warm up, then in earnest."""
    lab = Lab("ipv4")
    addresses = mesh(lab, layer=layer)
    result: dict[str, Any] = {"sent": 0}
    for seed in range(1, 4):
        noise = (sys.executable, NOISE, "rm0", addresses["a"], addresses["b"], str(seed))
        result["sent"] += int(must(lab.hosts["a"], *noise))
        result.setdefault("rss_mib", []).append(max(rss_mib(lab, name) for name in "ab"))
    result["answers_s"] = answers_in(lab, "a", addresses["b"])
    for name in "ab":
        lab.daemons[name].terminate()
        result[name] = ended(lab, name)
    return result


@case
def hostile_host() -> dict[str, Any]:
    return hostile_programs("l3")


@case
def hostile_host_layer_2() -> dict[str, Any]:
    return hostile_programs("l2")


def main() -> None:
    """Run one case; its hosts die with the sandbox."""
    print(json.dumps(CASES[sys.argv[1]]()))


if __name__ == "__main__":
    main()
