"""Inside a sandbox: real daemons whose hosts, routers and servers change. Prints the times to the next answer as JSON.

Node `a` stands behind a NAT router `r`; `b` and server `s` stand on the bridge. The kernel tells of changes, or does
not. Cases of ten minutes are for the night: keys that are older than REJECT-AFTER-TIME by real clocks. The simulated
world has them as well (tests/unit/test_refmesh_roaming.py).

python refmesh_roaming_lab.py CASE
"""

from __future__ import annotations

import itertools
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from refmesh_lab import Lab, enter, must

from harness.sandbox.namespace import hold_namespace

CASES: dict[str, Callable[[], dict[str, Any]]] = {}
BEFORE = 10
"""Answers before anything happens."""
LONG_S = 600.0


def case(function: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Make it one that can be asked for by its name."""
    CASES[function.__name__.replace("_", "-")] = function
    return function


class Home(Lab):
    """As `Lab`, with `a` in a network of its own behind a router."""

    def __init__(self, mode: str = "mesh", *, kind: str = "ipv4") -> None:
        """`kind` "tls": the router lets out no UDP, and no word that a connection is over, as many do not."""
        super().__init__(kind)
        self.mode = mode
        self.router = hold_namespace("r")
        subprocess.run(["ip", "link", "del", "va"], check=True)
        link = ["ip", "link", "add", "vr", "master", "br0", "type", "veth", "peer", "name", "wan"]
        subprocess.run([*link, "netns", str(self.router)], check=True)
        subprocess.run(["ip", "link", "set", "vr", "up"], check=True)
        a = self.hosts["a"]
        link = ["ip", "link", "add", "eth0", "netns", str(a), "type", "veth", "peer", "name", "lan"]
        subprocess.run([*link, "netns", str(self.router)], check=True)
        for line in (
            "addr add 45.9.0.1/24 dev wan",
            "addr add 192.168.7.1/24 dev lan",
            "link set wan up",
            "link set lan up",
        ):
            must(self.router, "ip", *line.split())
        must(self.router, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        for line in ("add table ip n", "add chain ip n post { type nat hook postrouting priority 100; }"):
            must(self.router, "nft", line)
        must(self.router, "nft", "add rule ip n post oifname wan masquerade")
        if kind == "tls":
            for line in (
                "add chain ip n filter { type filter hook forward priority 0; }",
                "add rule ip n filter meta l4proto udp drop",
                "add rule ip n filter tcp flags & rst == rst drop",
            ):
                must(self.router, "nft", line)
        for line in ("addr add 192.168.7.2/24 dev eth0", "link set eth0 up", "route add default via 192.168.7.1"):
            must(a, "ip", *line.split())
        network = self.network()
        places = {name: {"status_socket": f"{name}.sock", "state_dir": f"{name}.state"} for name in "abs"}
        self.server = network.server_config("s", **places["s"])
        self.start("s", self.server, "server")
        for name in "ab":
            self.start(name, network.node_config(name, interface="rm0", mode=mode, **places[name]), "up")
        for name in "ab":
            self.path(name, "relayed" if mode == "relay" else "direct")
        self.b = network.addresses["b"].split("/")[0]

    def router_moves(self) -> None:
        """Have the provider give another address: the old one and all its mappings are gone."""
        must(self.router, "sh", "-c", "ip addr flush dev wan && ip addr add 45.9.0.77/24 dev wan")
        must(self.router, "sh", "-c", "nft flush chain ip n post && nft add rule ip n post oifname wan masquerade")

    def interface_moves(self) -> None:
        a = "ip addr flush dev eth0 && ip addr add 192.168.7.33/24 dev eth0 && ip route add default via 192.168.7.1"
        must(self.hosts["a"], "sh", "-c", a)

    def gap_s(self, change: Callable[[], None], limit_s: float = 40.0) -> dict[str, Any]:
        """Return what becomes of pings that go on while something changes, and once it has.

        `gap_s` are the seconds from the end of the change to the next answer, `silent_s` the longest without any while
        the change went on.
        """
        argv = enter(self.hosts["a"], "ping", "-D", "-i", "0.1", "-w", str(int(limit_s)), self.b)
        ping = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        # Read all the time: ping waits where the pipe is full, which a minute of answers does.
        answers: queue.SimpleQueue[float | None] = queue.SimpleQueue()
        threading.Thread(target=_read_answers, args=(ping, answers), daemon=True).start()
        for _ in range(BEFORE):
            if answers.get() is None:
                raise SystemExit("ping ended before anything changed")
        moments = [time.time()]
        change()
        done = time.time()
        found = None
        while found is None and (at := answers.get()) is not None:
            if at > done + 0.01:
                found = at - done
            else:
                moments.append(at)
        ping.kill()
        ping.wait()
        silent_s = max(later - earlier for earlier, later in itertools.pairwise([*moments, done]))
        return {"gap_s": found, "silent_s": silent_s, "lost_later": 5 - self.pings("a", self.b)}


def _read_answers(ping: subprocess.Popen[str], answers: queue.SimpleQueue[float | None]) -> None:
    """Put the moment of each answer into the queue, and None at the end."""
    assert ping.stdout is not None
    for line in ping.stdout:
        if "bytes from" in line:
            answers.put(float(line[1:].split("]")[0]))
    answers.put(None)


@case
def router() -> dict[str, Any]:
    home = Home()
    result = home.gap_s(home.router_moves)
    return result | {"path": home.path("b", "direct")["path"], "endpoint": home.path("b", "direct")["endpoint"]}


@case
def interface() -> dict[str, Any]:
    home = Home()
    return home.gap_s(home.interface_moves) | {"path": home.path("a", "direct")["path"]}


@case
def both() -> dict[str, Any]:
    home = Home()

    def change() -> None:
        home.router_moves()
        home.interface_moves()

    return home.gap_s(change) | {"path": home.path("a", "direct")["path"]}


@case
def router_relayed() -> dict[str, Any]:
    home = Home("relay")
    return home.gap_s(home.router_moves) | {"path": home.path("a", "relayed")["path"]}


@case
def router_tls() -> dict[str, Any]:
    home = Home("relay", kind="tls")
    result = home.gap_s(home.router_moves)
    return result | {
        "path": home.path("a", "relayed")["path"],
        "transport": home.status("a")["servers"][0]["transport"],
    }


def _restart(home: Home, dead_s: float = 0.0) -> None:
    home.daemons["s"].send_signal(signal.SIGKILL)
    home.daemons["s"].wait()
    time.sleep(dead_s)
    home.start("s", home.server, "server")


def _asleep(home: Home, asleep_s: float) -> None:
    """Stop a process: no sleeping machine, as its clock goes on; but so does CLOCK_BOOTTIME while one sleeps."""
    until_s = time.monotonic() + asleep_s
    home.daemons["a"].send_signal(signal.SIGSTOP)
    home.pings("b", "10.77.0.1", 15)  # b finds that a does not answer
    time.sleep(max(0.0, until_s - time.monotonic()))
    home.daemons["a"].send_signal(signal.SIGCONT)


@case
def server_restart() -> dict[str, Any]:
    home = Home()
    return home.gap_s(lambda: _restart(home)) | {"path": home.path("a", "direct")["path"]}


@case
def server_restart_relayed() -> dict[str, Any]:
    home = Home("relay")
    return home.gap_s(lambda: _restart(home)) | {"path": home.path("a", "relayed")["path"]}


@case
def sleep() -> dict[str, Any]:
    home = Home()
    return home.gap_s(lambda: _asleep(home, 0.0), 100.0) | {"path": home.path("a", "direct")["path"]}


def _long(mode: str, change: Callable[[Home], None]) -> dict[str, Any]:
    home = Home(mode)
    path = "relayed" if mode == "relay" else "direct"
    return home.gap_s(lambda: change(home), LONG_S + 200.0) | {"path": home.path("a", path)["path"]}


@case
def sleep_600() -> dict[str, Any]:
    return _long("mesh", lambda home: _asleep(home, LONG_S))


@case
def sleep_600_relayed() -> dict[str, Any]:
    return _long("relay", lambda home: _asleep(home, LONG_S))


@case
def servers_dead_600() -> dict[str, Any]:
    return _long("mesh", lambda home: _restart(home, LONG_S))


@case
def servers_dead_600_relayed() -> dict[str, Any]:
    return _long("relay", lambda home: _restart(home, LONG_S))


def main() -> None:
    """Run one case; its hosts die with the sandbox."""
    print(json.dumps(CASES[sys.argv[1]]()))


if __name__ == "__main__":
    main()
