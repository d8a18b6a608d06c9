"""Inside a sandbox: server `s` and nodes `a`, `b` on one bridge, run as a user would. Prints what happened as JSON.

python refmesh_lab.py ipv4|ipv6|tls|layer2|joined|servers-die
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ping_answers import FURTHER, answered

from harness.sandbox.namespace import hold_namespace, release_namespaces
from overlays.refmesh import credentials, keys
from overlays.refmesh.network import Network, Site, make_network, to_yaml

REFMESH = (sys.executable, "-m", "overlays.refmesh")
NUMBERS = {"a": 1, "b": 2, "s": 9}


def enter(pid: int, *argv: str) -> list[str]:
    return ["nsenter", "-t", str(pid), "-n", "-m", "--", *argv]


def must(pid: int, *argv: str) -> str:
    done = subprocess.run(enter(pid, *argv), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"`{' '.join(argv)}` ended with {done.returncode}: {done.stderr}")
    return done.stdout


class Lab:
    """The hosts, and refmesh on them."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.folder = Path(tempfile.mkdtemp(prefix="refmesh-"))
        self.hosts = {name: hold_namespace(name) for name in NUMBERS}
        self.daemons: dict[str, subprocess.Popen[str]] = {}
        subprocess.run("ip link add br0 type bridge && ip link set br0 up", shell=True, check=True)
        for name, number in NUMBERS.items():
            link = ["ip", "link", "add", f"v{name}", "master", "br0", "type", "veth", "peer", "name", "eth0"]
            subprocess.run([*link, "netns", str(self.hosts[name])], check=True)
            subprocess.run(["ip", "link", "set", f"v{name}", "up"], check=True)
            must(self.hosts[name], "ip", "addr", "add", self.address(number), "dev", "eth0", *self._nodad())
            must(self.hosts[name], "ip", "link", "set", "eth0", "up")

    def _nodad(self) -> list[str]:
        return ["nodad"] if self.kind == "ipv6" else []

    def address(self, number: int) -> str:
        return f"2a0e:1::{number}/64" if self.kind == "ipv6" else f"45.9.0.{number}/24"

    def network(self) -> Network:
        host = self.address(NUMBERS["s"]).split("/")[0]
        return make_network(["a", "b"], [Site("s", host, tls_port=443 if self.kind == "tls" else 0)])

    def start(self, name: str, config: dict[str, Any], command: str) -> None:
        path = self.folder / f"{name}.yaml"
        path.write_text(to_yaml(config))
        argv = enter(self.hosts[name], *REFMESH, command, "--config", str(path))
        daemon = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        self.daemons[name] = daemon
        assert daemon.stderr is not None
        said = ""
        for line in daemon.stderr:
            said += line
            if line.startswith("refmesh: ready"):
                # A full pipe that is not read would stop the daemon.
                os.set_blocking(daemon.stderr.fileno(), False)
                return
        raise SystemExit(f"{name} ended: {said}")

    def status(self, name: str) -> dict[str, Any]:
        text = must(self.hosts[name], *REFMESH, "status", "--json", "--config", str(self.folder / f"{name}.yaml"))
        return dict(json.loads(text))

    def path(self, src: str, wanted: str, deadline_s: float = 15.0) -> dict[str, Any]:
        """Return the status of the peer of `src`, as soon as its path is the wanted one."""
        end = time.monotonic() + deadline_s
        while True:
            peers = self.status(src)["peers"]
            if (peers and peers[0]["path"] == wanted) or time.monotonic() > end:
                return dict(peers[0]) if peers else {}
            time.sleep(0.1)

    def pings(self, src: str, target: str, count: int = 5, further: int = FURTHER) -> int:
        """Return how many of the first `count` pings are answered."""
        argv = enter(self.hosts[src], "ping", "-c", str(count + further), "-i", "0.2", "-W", "1", target)
        return answered(subprocess.run(argv, capture_output=True, text=True, check=False).stdout, count)

    def close(self) -> None:
        for daemon in self.daemons.values():
            daemon.kill()
            daemon.wait()
        release_namespaces(list(self.hosts.values()))


def tell(lab: Lab) -> dict[str, Any]:
    network = lab.network()
    socket_of = {name: {"status_socket": f"{name}.sock", "state_dir": f"{name}.state"} for name in NUMBERS}
    b = network.addresses["b"].split("/")[0]
    options: dict[str, Any] = {"interface": "rm0"} | ({"layer": "l2"} if lab.kind == "layer2" else {})
    configs = {name: network.node_config(name, **socket_of[name], **options) for name in "ab"}
    if lab.kind == "joined":
        until = int(time.time()) + 3600
        join_key = credentials.invite(
            network.authority_private, "b", [network.addresses["b"]], not_after=until, server="s", rng=os.urandom
        )
        del configs["b"]["certificate"]
        configs["b"] |= {"join_key": join_key, "private_key": keys.encode(keys.generate())}
    if lab.kind == "tls":
        for rule in ("add table inet f", "add chain inet f out { type filter hook output priority 0; }"):
            must(lab.hosts["a"], "nft", rule)
        must(lab.hosts["a"], "nft", "add rule inet f out oifname eth0 meta l4proto udp drop")
    lab.start("s", network.server_config("s", **socket_of["s"]), "server")
    for name in "ab":
        lab.start(name, configs[name], "up")
    wanted = "relayed" if lab.kind == "tls" else "direct"
    result: dict[str, Any] = {"peer": lab.path("a", wanted), "answered": lab.pings("a", b)}
    result["servers"] = lab.status("a")["servers"]
    result["members"] = lab.status("s")["members"]
    if lab.kind == "servers-die":
        lab.daemons["s"].send_signal(signal.SIGKILL)
        lab.daemons["s"].wait()
        result["answered"] = lab.pings("a", b)
        # b starts again without any server: it remembers a, and a remembers it.
        lab.daemons["b"].terminate()
        lab.daemons["b"].wait()
        path = lab.folder / "b.yaml"
        lab.daemons["b"] = subprocess.Popen(
            enter(lab.hosts["b"], *REFMESH, "up", "--config", str(path)), stderr=subprocess.DEVNULL, text=True
        )
        end = time.monotonic() + 20
        while not lab.pings("b", network.addresses["a"].split("/")[0], 1) and time.monotonic() < end:
            time.sleep(0.1)
        result["answered_anew"] = lab.pings("b", network.addresses["a"].split("/")[0])
    if lab.kind == "ipv4":
        ping = must(lab.hosts["a"], *REFMESH, "ping", "--config", str(lab.folder / "a.yaml"), "b", "--count", "6")
        result["ping"] = ping.splitlines()
        lab.daemons["a"].send_signal(signal.SIGKILL)
        lab.daemons["a"].wait()
        result["interfaces_left"] = must(lab.hosts["a"], "ip", "-br", "link").split()
    return result


def main() -> None:
    """Build, tell, take down."""
    lab = Lab(sys.argv[1])
    try:
        print(json.dumps(tell(lab)))
    finally:
        lab.close()


if __name__ == "__main__":
    main()
