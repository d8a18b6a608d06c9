"""Inside a sandbox: refmesh on host `r`, wireguard-go on host `w`, one cable. Prints what happened as JSON.

python wireguard_lab.py refmesh|wireguard-go [psk-differs]     who initiates
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import yaml
from ping_answers import FURTHER, answered

from harness.sandbox.namespace import hold_namespace, inside_network_of, release_namespaces
from overlays.refmesh import keys

OUTER = {"r": "45.9.0.1", "w": "45.9.0.2"}
INNER = {"r": "10.60.0.1", "w": "10.60.0.2"}
BLOB = os.urandom(8 << 20)


def enter(pid: int, *argv: str) -> list[str]:
    return ["nsenter", "-t", str(pid), "-n", "-m", "--", *argv]


def must(pid: int, *argv: str, **more: Any) -> str:
    done = subprocess.run(enter(pid, *argv), capture_output=True, text=True, check=False, **more)
    if done.returncode:
        raise SystemExit(f"`{' '.join(argv)}` ended with {done.returncode}: {done.stderr}")
    return done.stdout


def transfer(hosts: dict[str, int], src: str, dst: str) -> bool:
    """Send 8 MiB over TCP inside the tunnel; tell whether they came as they were sent."""
    with inside_network_of(hosts[dst]):
        listener = socket.create_server((INNER[dst], 7000))
    listener.settimeout(10)
    with inside_network_of(hosts[src]):
        client = socket.socket()
    client.settimeout(10)
    got = hashlib.sha256()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            while chunk := connection.recv(1 << 16):
                got.update(chunk)

    server = threading.Thread(target=serve)
    server.start()
    with client, listener:
        client.connect((INNER[dst], 7000))
        client.sendall(BLOB)
        client.shutdown(socket.SHUT_WR)
        server.join(20)
    return got.digest() == hashlib.sha256(BLOB).digest()


def main() -> None:  # noqa: PLR0915 - one story, told in order
    """Build the two hosts, start both ends, print what passed."""
    initiator, psk_differs = sys.argv[1], "psk-differs" in sys.argv
    hosts = {name: hold_namespace(name) for name in ("r", "w")}
    folder = Path(tempfile.mkdtemp(prefix="wg-"))
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        argv = ["ip", "link", "add", "eth0", "netns", str(hosts["r"]), "type", "veth"]
        subprocess.run([*argv, "peer", "name", "eth0", "netns", str(hosts["w"])], check=True)
        for name, pid in hosts.items():
            must(pid, "ip", "addr", "add", f"{OUTER[name]}/24", "dev", "eth0")
            must(pid, "ip", "link", "set", "eth0", "up")
        private = {name: must(hosts["w"], "wg", "genkey").strip() for name in hosts}
        public = {name: must(hosts["w"], "wg", "pubkey", input=key).strip() for name, key in private.items()}
        assert public["r"] == keys.encode(keys.public(keys.decode(private["r"])))
        psk = must(hosts["w"], "wg", "genpsk").strip()
        peer = {"public_key": public["w"], "allowed_ips": [INNER["w"] + "/32"], "preshared_key": psk}
        if initiator == "refmesh":
            peer["endpoint"] = OUTER["w"] + ":51820"
        config = {
            "private_key": private["r"],
            "addresses": [INNER["r"] + "/24"],
            "listen_port": 51820,
            "interface": "vpn0",
            "status_socket": "r.sock",
            "peers": [peer],
        }
        (folder / "r.yaml").write_text(yaml.safe_dump(config))
        (folder / "w.key").write_text(private["w"])
        (folder / "psk").write_text(keys.encode(os.urandom(32)) if psk_differs else psk)
        refmesh = [sys.executable, "-m", "overlays.refmesh"]
        daemons.append(
            subprocess.Popen(enter(hosts["r"], *refmesh, "up", "-c", str(folder / "r.yaml")), stderr=subprocess.PIPE)
        )
        daemons.append(subprocess.Popen(enter(hosts["w"], "wireguard-go", "-f", "vpn0"), stderr=subprocess.DEVNULL))
        stderr = daemons[0].stderr
        assert stderr is not None
        while b"refmesh: ready" not in stderr.readline():
            if daemons[0].poll() is not None:
                raise SystemExit("refmesh ended")
        end = time.monotonic() + 10
        while subprocess.run(enter(hosts["w"], "wg", "show", "vpn0"), capture_output=True, check=False).returncode:
            if time.monotonic() > end:
                raise SystemExit("wireguard-go does not start")
        endpoint = ("endpoint", OUTER["r"] + ":51820") if initiator == "wireguard-go" else ()
        allowed = ("allowed-ips", INNER["r"] + "/32", "preshared-key", str(folder / "psk"), *endpoint)
        own = ("private-key", str(folder / "w.key"), "listen-port", "51820")
        must(hosts["w"], "wg", "set", "vpn0", *own, "peer", public["r"], *allowed)
        must(hosts["w"], "ip", "addr", "add", INNER["w"] + "/24", "dev", "vpn0")
        must(hosts["w"], "ip", "link", "set", "vpn0", "mtu", "1400", "up")
        # It opens its port once it has seen that its interface is up.
        while ":CA6C " not in must(hosts["w"], "cat", "/proc/net/udp"):
            if time.monotonic() > end:
                raise SystemExit("wireguard-go does not listen on 51820")
            time.sleep(0.02)
        src, dst = ("r", "w") if initiator == "refmesh" else ("w", "r")
        ping = subprocess.run(
            enter(hosts[src], "ping", "-c", str(5 + FURTHER), "-i", "0.2", "-W", "1", INNER[dst]),
            capture_output=True,
            text=True,
            check=False,
        )
        result: dict[str, Any] = {
            "answered": answered(ping.stdout, 5),
            "handshake": int(must(hosts["w"], "wg", "show", "vpn0", "latest-handshakes").split()[1]) > 0,
        }
        if not psk_differs:
            result["there"] = transfer(hosts, src, dst)
            result["back"] = transfer(hosts, dst, src)
            status = must(hosts["r"], *refmesh, "status", "--json", "-c", str(folder / "r.yaml"))
            result["status"] = json.loads(status)["peers"][0]
        print(json.dumps(result))
    finally:
        for daemon in daemons:
            daemon.kill()
            daemon.wait()
        release_namespaces(list(hosts.values()))


if __name__ == "__main__":
    main()
