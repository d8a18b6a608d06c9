"""Inside a sandbox: plain WireGuard nodes of refmesh, in the situations of WireGuard's own selftest. Prints JSON.

The ideas are those of netns.sh in Linux's tools/testing/selftests/wireguard: sticky sources, firewall marks,
keepalives on an idle tunnel, keys that change while it works, ICMP errors, loops through the tunnel itself.

python refmesh_static_lab.py CASE
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from refmesh_hosts_lab import answers_in
from refmesh_lab import REFMESH, Lab, enter, must

from overlays.refmesh import keys
from overlays.refmesh.network import to_yaml

CASES: dict[str, Callable[[], dict[str, Any]]] = {}
PORT = 51820
INNER = {"a": "10.9.0.1", "b": "10.9.0.2"}


def case(function: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Make it one that can be asked for by its name."""
    CASES[function.__name__.replace("_", "-")] = function
    return function


class Static:
    """Nodes `a` and `b` that know each other by their configurations."""

    def __init__(self) -> None:
        self.lab = Lab("ipv4")
        for host in self.lab.hosts.values():
            must(host, "ip", "link", "set", "lo", "up")
        self.keys = {name: keys.generate() for name in "ab"}
        self.peer: dict[str, dict[str, Any]] = {
            "a": {"allowed_ips": ["10.9.0.2/32"], "endpoint": f"45.9.0.2:{PORT}"},
            "b": {"allowed_ips": ["10.9.0.1/32"]},
        }
        self.options: dict[str, dict[str, Any]] = {"a": {}, "b": {}}

    def config(self, name: str) -> dict[str, Any]:
        other = "b" if name == "a" else "a"
        return {
            "private_key": keys.encode(self.keys[name]),
            "addresses": [f"{INNER[name]}/24"],
            "listen_port": PORT,
            "interface": "rm0",
            "status_socket": f"{name}.sock",
            "peers": [{"public_key": keys.encode(keys.public(self.keys[other]))} | self.peer[name]],
        } | self.options[name]

    def start(self, *names: str) -> None:
        for name in names:
            self.lab.start(name, self.config(name), "up")

    def write(self, name: str) -> None:
        (self.lab.folder / f"{name}.yaml").write_text(to_yaml(self.config(name)))

    def command(self, name: str, *argv: str) -> subprocess.CompletedProcess[str]:
        argv = enter(self.lab.hosts[name], *REFMESH, argv[0], "--config", str(self.lab.folder / f"{name}.yaml"))
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def answers_s(self, src: str = "a", limit_s: float = 30.0) -> float | None:
        return answers_in(self.lab, src, INNER["b" if src == "a" else "a"], limit_s=limit_s)

    def seen(self, name: str) -> dict[str, Any]:
        (peer,) = self.lab.status(name)["peers"]
        return dict(peer)


def counter(lab: Lab, host: str, rule: str) -> Callable[[], int]:
    """Count packets of `host` that a rule of nftables matches."""
    for line in ("add table inet c", "add chain inet c out { type filter hook output priority 0; }"):
        must(lab.hosts[host], "nft", line)
    must(lab.hosts[host], "nft", f"add rule inet c out {rule} counter")

    def packets() -> int:
        listed = json.loads(must(lab.hosts[host], "nft", "-j", "list", "table", "inet", "c"))["nftables"]
        (rule_,) = [entry["rule"] for entry in listed if "rule" in entry]
        return int(next(part["counter"]["packets"] for part in rule_["expr"] if "counter" in part))

    return packets


@case
def sticky_source() -> dict[str, Any]:
    """b has two addresses, a knows the second one and hears no other; then that one is taken away."""
    static = Static()
    lab = static.lab
    must(lab.hosts["b"], "ip", "addr", "add", "45.9.0.22/24", "dev", "eth0")
    for line in ("add table inet f", "add chain inet f in { type filter hook input priority 0; }"):
        must(lab.hosts["a"], "nft", line)
    must(lab.hosts["a"], "nft", "add rule inet f in ip saddr 45.9.0.2 udp sport 51820 drop")
    static.peer["a"]["endpoint"] = f"45.9.0.22:{PORT}"
    static.start("a", "b")
    result: dict[str, Any] = {"first_s": static.answers_s()}
    result["many"] = lab.pings("a", INNER["b"], 10)
    result["endpoint"] = static.seen("a")["endpoint"]
    must(lab.hosts["a"], "nft", "flush chain inet f in")
    must(lab.hosts["b"], "ip", "addr", "del", "45.9.0.22/24", "dev", "eth0")
    result["from_b_s"] = static.answers_s("b")
    result["endpoint_then"] = static.seen("a")["endpoint"]
    return result


@case
def server_addresses() -> dict[str, Any]:
    """Run a server with two addresses, and a node that hears only the second one, as behind a NAT."""
    lab = Lab("ipv4")
    must(lab.hosts["s"], "ip", "addr", "add", "45.9.0.29/24", "dev", "eth0")
    for line in ("add table inet f", "add chain inet f in { type filter hook input priority 0; }"):
        must(lab.hosts["a"], "nft", line)
    must(lab.hosts["a"], "nft", "add rule inet f in ip saddr { 45.9.0.9, 45.9.0.2 } drop")
    network = lab.network()
    lab.start("s", network.server_config("s", status_socket="s.sock"), "server")
    lab.start("b", network.node_config("b", status_socket="b.sock", interface="rm0"), "up")
    second = network.reached_at({"s": "45.9.0.29"})
    lab.start("a", second.node_config("a", status_socket="a.sock", interface="rm0"), "up")
    lab.path("a", "relayed")
    end = time.monotonic() + 10
    while not (server := lab.status("a")["servers"][0])["mapped"] and time.monotonic() < end:
        time.sleep(0.1)
    b = network.addresses["b"].split("/")[0]
    return {"up": server["up"], "mapped": server["mapped"], "answered": lab.pings("a", b)}


@case
def fwmark_default_route() -> dict[str, Any]:
    """All that a sends goes into the tunnel, but for what bears the mark."""
    static = Static()
    static.peer["a"]["allowed_ips"] = ["0.0.0.0/0"]
    static.options["a"]["fwmark"] = 51820
    static.start("b", "a")
    a = static.lab.hosts["a"]
    must(a, "ip", "route", "add", "default", "dev", "rm0", "table", "51820")
    must(a, "ip", "rule", "add", "not", "fwmark", "51820", "table", "51820")
    must(static.lab.hosts["b"], "ip", "addr", "add", "203.0.113.5/32", "dev", "lo")
    plain = counter(static.lab, "a", "oifname eth0 ip daddr != 45.9.0.2")
    first = static.answers_s()
    return {"first_s": first, "beyond": static.lab.pings("a", "203.0.113.5", 3), "beside_the_tunnel": plain()}


@case
def loop() -> dict[str, Any]:
    """Do the same without the mark: what we send would come back to us for ever."""
    static = Static()
    static.peer["a"]["allowed_ips"] = ["0.0.0.0/0"]
    static.start("b", "a")
    first = static.answers_s()
    a = static.lab.hosts["a"]
    must(a, "ip", "route", "add", "45.9.0.2/32", "dev", "rm0")
    sent = counter(static.lab, "a", "oifname rm0")
    static.lab.pings("a", INNER["b"], 5, further=0)
    looped = sent()
    must(a, "ip", "route", "del", "45.9.0.2/32", "dev", "rm0")
    return {"first_s": first, "packets": looped, "after_s": static.answers_s()}


@case
def idle_keepalive() -> dict[str, Any]:
    """Give a nothing to send and a keepalive of 1 s: thus b learns where a is, and stays able to send."""
    static = Static()
    static.peer["a"]["persistent_keepalive_s"] = 1
    static.start("b", "a")
    deadline = time.monotonic() + 20
    while static.seen("b")["endpoint"] is None and time.monotonic() < deadline:
        time.sleep(0.05)
    seen = counter(static.lab, "a", "oifname eth0 udp dport 51820")
    before = seen()
    while seen() < before + 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    return {
        "known": static.seen("b")["endpoint"],
        "from_b": static.lab.pings("b", INNER["a"], 3),
        "keepalives": seen() - before,
    }


@case
def live_key_change() -> dict[str, Any]:
    """b starts again with another key while a runs; a takes it by `reload`, and nothing else of it stops."""
    static = Static()
    static.start("b", "a")
    result: dict[str, Any] = {"first_s": static.answers_s()}
    result["unchanged"] = static.command("a", "reload").stderr.strip()
    result["down"] = static.command("b", "down").returncode
    result["socket_left"] = (static.lab.folder / "b.sock").exists()
    result["interface_left"] = "rm0" in must(static.lab.hosts["b"], "ip", "-br", "link")
    static.keys["b"] = keys.generate()
    static.start("b")
    result["old_key_answers"] = static.lab.pings("a", INNER["b"], 2)
    static.write("a")
    result["reload"] = static.command("a", "reload").stderr.strip()
    result["then_s"] = static.answers_s()
    static.options["a"]["mtu"] = 1300
    static.write("a")
    refused = static.command("a", "reload")
    result["refused"] = [refused.returncode, refused.stderr.strip().removeprefix(str(static.lab.folder))]
    result["still_s"] = static.answers_s()
    # By a signal as well.
    del static.options["a"]["mtu"]
    static.peer["a"]["allowed_ips"] = ["10.9.0.2/32", "10.9.8.0/24"]
    static.write("a")
    static.lab.daemons["a"].send_signal(signal.SIGHUP)
    end = time.monotonic() + 20
    while "10.9.8.0/24" not in static.seen("a")["addresses"] and time.monotonic() < end:
        time.sleep(0.05)
    result["addresses"] = static.seen("a")["addresses"]
    result["a_lives"] = static.lab.daemons["a"].poll() is None
    return result


@case
def icmp_errors() -> dict[str, Any]:
    """ICMP errors pass the tunnel in both directions: of a port that is closed, and of a router behind b."""
    static = Static()
    static.peer["a"]["allowed_ips"] = ["10.9.0.2/32", "203.0.113.0/24"]
    static.start("b", "a")
    first = static.answers_s()
    a, b = static.lab.hosts["a"], static.lab.hosts["b"]
    must(a, "ip", "route", "add", "203.0.113.0/24", "dev", "rm0")
    must(b, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
    must(b, "ip", "route", "add", "unreachable", "203.0.113.0/24")
    probe = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(10)
    client.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR: of errors that may pass, too
    client.connect((sys.argv[1], 9999))
    client.send(b"x")
    try:
        client.recv(1)
    except OSError as error:
        print(type(error).__name__, error.errno)
"""
    answers = [must(a, sys.executable, "-c", probe, target).strip() for target in (INNER["b"], "203.0.113.9")]
    return {"first_s": first, "port": answers[0], "host": answers[1]}


@case
def flood_of_handshakes() -> dict[str, Any]:
    """Somebody who knows b's key asks for 800 handshakes a second with keys that b does not know, and for 80 with keys
    of peers, these with the cookie that b has given; a still gets one."""
    static = Static()
    enemies = [keys.generate() for _ in range(8)]
    static.options["b"]["peers"] = static.config("b")["peers"] + [
        {"public_key": keys.encode(keys.public(key)), "allowed_ips": [f"10.9.7.{n}/32"]}
        for n, key in enumerate(enemies)
    ]
    static.start("b")
    public = keys.public(static.keys["b"]).hex()
    script = str(Path(__file__).with_name("refmesh_flood.py"))
    argv = enter(static.lab.hosts["s"], sys.executable, script, public, "60", *(key.hex() for key in enemies))
    enemy = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert enemy.stdout is not None
    if enemy.stdout.readline() != "busy\n":
        raise SystemExit("b has given no cookie: nothing shows that it was busy")
    static.start("a")
    result = {"first_s": static.answers_s(limit_s=50.0), "flooded_until_then": enemy.poll() is None}
    enemy.terminate()
    result |= json.loads(enemy.communicate()[0])
    return result | {"b_lives": static.lab.daemons["b"].poll() is None}


def main() -> None:
    """Run one case; its hosts die with the sandbox."""
    print(json.dumps(CASES[sys.argv[1]]()))


if __name__ == "__main__":
    main()
