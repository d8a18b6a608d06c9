"""The subjects of `bench/refmesh.py`: how each VPN is started between two hosts that share one cable."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from overlays.refmesh import keys
from overlays.refmesh.network import Site, make_network, to_yaml
from overlays.tailscale import server

TAILNET = IPv4Network("100.64.0.0/24")
A, B = "45.9.0.1", "45.9.0.2"
CONTROL = "45.9.0.3"
"""A second address of b's: Headscale and derper are each on 443 of their own."""
REFMESH = (sys.executable, "-m", "overlays.refmesh")


@dataclass(frozen=True)
class Subject:
    """`prepare(folder)` writes files and returns (host, argv) of each daemon; `target` is b's inner address."""

    name: str
    program: str
    target: str
    prepare: Callable[[Path], Sequence[tuple[str, Sequence[str]]]]
    kernel: bool = False
    """Whether the kernel does the work: its interface is deleted afterwards, and its CPU time is no daemon's."""
    helpers: tuple[str, ...] = ()
    """Other programs that it takes to start it."""
    version_flag: str = "--version"

    def version(self) -> str:
        """Return the first line of what the program says of its version; of refmesh it is Python's."""
        argv = [self.program, self.version_flag]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        return next(iter((done.stdout + done.stderr).strip().splitlines()), "").strip()


def _run(*argv: str, cwd: Path) -> None:
    subprocess.run(argv, cwd=cwd, check=True, capture_output=True)


def _refmesh(**options: Any) -> Callable[[Path], Sequence[tuple[str, Sequence[str]]]]:
    def prepare(folder: Path) -> Sequence[tuple[str, Sequence[str]]]:
        network = make_network(["a", "b"], [Site("s", B)], prefix="10.50.0.0/24")
        (folder / "s.yaml").write_text(to_yaml(network.server_config("s")))
        for name in ("a", "b"):
            config = network.node_config(name, interface="vpn0", status_socket=f"{name}.sock", **options)
            (folder / f"{name}.yaml").write_text(to_yaml(config))
        return [
            ("b", (*REFMESH, "server", "-c", str(folder / "s.yaml"))),
            ("b", (*REFMESH, "up", "-c", str(folder / "b.yaml"))),
            ("a", (*REFMESH, "up", "-c", str(folder / "a.yaml"))),
        ]

    return prepare


def _wireguard(folder: Path, *, kernel: bool) -> Sequence[tuple[str, Sequence[str]]]:
    private = {name: keys.generate() for name in ("a", "b")}
    commands: list[tuple[str, Sequence[str]]] = []
    for name, other, address in (("a", "b", B), ("b", "a", A)):
        (folder / f"{name}.key").write_text(keys.encode(private[name]))
        public = keys.encode(keys.public(private[other]))
        own = "10.50.0.1/24" if name == "a" else "10.50.0.2/24"
        script = (
            f"wg set vpn0 private-key {folder}/{name}.key listen-port 51820 "
            f"peer {public} allowed-ips 10.50.0.0/24 endpoint {address}:51820 && "
            f"ip addr add {own} dev vpn0 && ip link set vpn0 mtu 1420 up"
        )
        if kernel:
            commands.append((name, ("sh", "-c", f"ip link add vpn0 type wireguard && {script}")))
            continue
        wait = "until ip link show vpn0 >/dev/null 2>&1; do sleep 0.05; done"
        commands.append((name, ("wireguard-go", "-f", "vpn0")))
        commands.append((name, ("sh", "-c", f"{wait}; {script}")))
    return commands


def _openvpn(folder: Path) -> Sequence[tuple[str, Sequence[str]]]:
    for name in ("a", "b"):
        _run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN={name}", "-days", "2"),
            cwd=folder,
        )
    prints = {
        name: subprocess.run(
            ("openssl", "x509", "-in", f"{name}.crt", "-noout", "-fingerprint", "-sha256"),
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split("=")[1]
        for name in ("a", "b")
    }
    common = "dev vpn0\ndev-type tun\nproto udp\ndata-ciphers AES-256-GCM\ncipher AES-256-GCM\ndisable-dco\nnobind\n"
    for name, other, own, peer in (("a", "b", "10.50.0.1", "10.50.0.2"), ("b", "a", "10.50.0.2", "10.50.0.1")):
        role = f"tls-client\nremote {B} 1194\n" if name == "a" else f"tls-server\ndh none\nlocal {B}\nport 1194\n"
        text = common.replace("nobind\n", "") if name == "b" else common
        (folder / f"{name}.conf").write_text(
            f"{text}{role}ifconfig {own} {peer}\ncert {name}.crt\nkey {name}.key\n"
            f"<peer-fingerprint>\n{prints[other]}</peer-fingerprint>\n"
        )
    return [(name, ("openvpn", "--cd", str(folder), "--config", f"{name}.conf")) for name in ("b", "a")]


def _nebula(folder: Path, *, program: str, address_flag: str) -> Sequence[tuple[str, Sequence[str]]]:
    _run(f"{program}-cert", "ca", "-name", "bench", cwd=folder)
    for name, address in (("a", "10.50.0.1/24"), ("b", "10.50.0.2/24")):
        _run(f"{program}-cert", "sign", "-name", name, address_flag, address, cwd=folder)
        (folder / f"{name}.yml").write_text(
            f"pki: {{ca: {folder}/ca.crt, cert: {folder}/{name}.crt, key: {folder}/{name}.key}}\n"
            f"static_host_map: {{'10.50.0.2': ['{B}:4242']}}\n"
            f"lighthouse: {{am_lighthouse: {str(name == 'b').lower()}, "
            f"hosts: [{'' if name == 'b' else repr('10.50.0.2')}]}}\n"
            f"listen: {{host: 0.0.0.0, port: 4242}}\ntun: {{dev: vpn0}}\n"
            "firewall: {outbound: [{port: any, proto: any, host: any}], "
            "inbound: [{port: any, proto: any, host: any}]}\n"
        )
    return [(name, (program, "-config", str(folder / f"{name}.yml"))) for name in ("b", "a")]


def _tinc(folder: Path) -> Sequence[tuple[str, Sequence[str]]]:
    for name, own, outer in (("a", "10.50.0.1", A), ("b", "10.50.0.2", B)):
        home = folder / name
        (home / "hosts").mkdir(parents=True)
        connect = "ConnectTo = b\n" if name == "a" else ""
        (home / "tinc.conf").write_text(f"Name = {name}\nInterface = vpn0\n{connect}")
        (home / "tinc-up").write_text(f"#!/bin/sh\nip addr add {own}/24 dev vpn0\nip link set vpn0 up\n")
        (home / "tinc-up").chmod(0o755)
        (home / "hosts" / name).write_text(f"Address = {outer}\nSubnet = {own}/32\n")
        subprocess.run(
            ("tincd", "-c", str(home), "-K", "2048"), input=b"\n\n", check=True, capture_output=True, cwd=folder
        )
    for name, other in (("a", "b"), ("b", "a")):
        text = (folder / other / "hosts" / other).read_text()
        (folder / name / "hosts" / other).write_text(text)
    return [(name, ("tincd", "-c", str(folder / name), "-D", f"--pidfile={folder}/{name}.pid")) for name in ("b", "a")]


def _tailscale(folder: Path) -> Sequence[tuple[str, Sequence[str]]]:
    """Prepare tailscaled twice, with headscale and derper on b, as the adapter deploys them; a logs in first."""
    places = server.Places("b", IPv4Address(B), IPv4Address(CONTROL))
    for file in server.files(places, TAILNET, relays=True):
        (folder / file.path).parent.mkdir(exist_ok=True)
        (folder / file.path).write_text(file.text)
    commands: list[tuple[str, Sequence[str]]] = []

    def run(host: str, script: str) -> None:
        commands.append(
            (host, ("sh", "-c", f"cd {folder} && {script}"))
        )  # entering a mount namespace leaves the folder

    for service in server.services(places):
        run("b", f"exec {shlex.join(service.argv)}")
        for argv in service.configure:
            run("b", f"for i in $(seq 200); do {shlex.join(argv)} && exit; sleep 0.1; done")
    for name, after in (("a", "members.key"), ("b", "a.up")):
        state = ("--statedir", str(folder / f"{name}-state"), "--socket", str(folder / f"{name}.sock"))
        commands.append(
            (
                name,
                (
                    "env",
                    "TS_NO_LOGS_NO_SUPPORT=true",
                    f"SSL_CERT_FILE={folder}/{server.AUTHORITY}",
                    "tailscaled",
                    "--tun=vpn0",
                    *state,
                ),
            )
        )
        up = (
            f"until test -s {after} && test -S {name}.sock; do sleep 0.1; done; "
            f"tailscale --socket={folder}/{name}.sock up --login-server={places.login_url} "
            f"--auth-key=file:{folder}/members.key --hostname={name} --accept-dns=false --netfilter-mode=off "
            f"&& echo up >{name}.up"
        )
        run(name, up)
    return commands


SUBJECTS = (
    Subject("wireguard-kernel", "wg", "10.50.0.2", partial(_wireguard, kernel=True), kernel=True),
    Subject("wireguard-go", "wireguard-go", "10.50.0.2", partial(_wireguard, kernel=False), helpers=("wg",)),
    Subject("openvpn", "openvpn", "10.50.0.2", _openvpn, helpers=("openssl",)),
    Subject(
        *("nebula", "nebula", "10.50.0.2"),
        partial(_nebula, program="nebula", address_flag="-ip"),
        helpers=("nebula-cert",),
        version_flag="-version",
    ),
    Subject("tinc", "tincd", "10.50.0.2", _tinc),
    Subject(
        *("nebula-go", "nebula-go", "10.50.0.2"),
        partial(_nebula, program="nebula-go", address_flag="-networks"),
        helpers=("nebula-go-cert",),
        version_flag="-version",
    ),
    Subject(*("tailscale", "tailscaled", str(TAILNET[2])), _tailscale, helpers=("tailscale", "headscale", "derper")),
    Subject("refmesh-wireguard", os.fspath(sys.executable), "10.50.0.2", _refmesh(framing="wireguard")),
    Subject("refmesh", os.fspath(sys.executable), "10.50.0.2", _refmesh(framing="auto")),
)
