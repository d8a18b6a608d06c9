"""tinc 1.0: a mesh VPN whose nodes forward for each other (tinc.conf(5)).

`mesh` is its default. `relay` is `IndirectData`: no data by UDP between members, all through the server. There is no
`direct`: `DirectOnly` still sends through the server while UDP is unprobed, and a server that forwards nothing
(`Forwarding = off`) stops the punching too, because a member probes only peers whose packets have reached it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import Field

from harness.model.nat_words import Egress
from harness.model.trial import Trial
from harness.model.words import Mode, Verdict
from harness.overlay.contract import (
    ClaimSource,
    Deployment,
    File,
    InterfaceAddress,
    IpEndpoint,
    Layer,
    LogLine,
    OverlayOptions,
    Requirement,
    Service,
)
from overlays.addressing import addresses_of, device, options_of, server_of
from overlays.ways_out import TLS_PORT, by_tcp

NETWORK = IPv4Network("10.12.0.0/24")
PORT = 655
_KEY_BITS = 2048


class TincOptions(OverlayOptions):
    """The server's port, TCP and UDP; tinc's own is 655, which leaves fewer networks."""

    port: int = Field(default=TLS_PORT, ge=1, le=65535)


_UP = """\
#!/bin/sh
ip address add {address}/{prefix} dev "$INTERFACE"
ip link set "$INTERFACE" mtu 1400 up
"""


class Tinc:
    """Every node knows the server; the server makes the members known to each other."""

    name = "tinc"
    modes: frozenset[Mode] = frozenset({"mesh", "relay"})
    layer: Layer = "L3"
    needs_server = True
    network = NETWORK
    # Routes follow the meta connections, and members behind NATs have one to the server alone.
    depends_on_server: Literal[True] = True
    options: type[OverlayOptions] = TincOptions

    def requirements(self) -> Sequence[Requirement]:
        """One Debian package."""
        return (
            Requirement(
                program="tincd",
                install="apt-get install -y tinc",
                debian="tinc",
                version_argv=("tincd", "--version"),
            ),
        )

    def render(self, trial: Trial) -> Deployment:
        """Keys and a configuration folder a node.

        Raises:
            ValueError: an option.
        """
        server, addresses = server_of(trial), addresses_of(trial, NETWORK)
        keys = {node: rsa.generate_private_key(65537, _KEY_BITS) for node in addresses}
        hosts = {node: _host(trial, node, addresses[node], keys[node]) for node in addresses}
        files: list[File] = []
        for node, address in addresses.items():
            files += [
                File(node=node, path="tinc.conf", text=_config(trial, node)),
                File(node=node, path="rsa_key.priv", text=_private(keys[node])),
                File(node=node, path="tinc-up", text=_UP.format(address=address, prefix=NETWORK.prefixlen), mode=0o700),
                File(node=node, path=f"hosts/{_name(node)}", text=hosts[node]),
            ]
            for other in addresses if node == server else (server,):
                if other != node:
                    files.append(File(node=node, path=f"hosts/{_name(other)}", text=hosts[other]))
        return Deployment(
            files=tuple(files),
            services=tuple(_service(node, address, server) for node, address in addresses.items()),
            endpoints={m: IpEndpoint(address=addresses[m], interface=_device(m)) for m in trial.topology.members},
            claims=tuple(
                ClaimSource(
                    name=f"tinc-{m}",
                    node=m,
                    argv=("tincd", "-c", ".", "--pidfile=tinc.pid", "-kUSR2"),
                    service=f"tinc-{m}",
                    until=r"End of edges",
                )
                for m in trial.topology.members
            ),
        )

    def technique(self, mode: Mode) -> str | None:
        """UDP probes to the address that the server saw, at the port where the other listens, answered to their source.

        So one side's routers must keep ports, which CGNs do not (results/nat-matrix).
        """
        return "same-port" if mode == "mesh" else None

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:
        """Return `relayed`: without UDP data go by the meta connections, which are TCP to the server's port."""
        return by_tcp(egress, trial, options_of(trial, TincOptions).port)

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:
        """Read the source's last node list: direct when the route to `dst` is `dst` itself and UDP has been probed.

        A minimum path MTU of 0 means that no UDP probe was answered, so data goes by the meta connections.
        """
        lines = re.findall(rf" {_name(dst)} at .* via (\S+) pmtu \d+ \(min (\d+)", evidence.get(f"tinc-{src}", ""))
        if not lines:
            return None
        via, least = lines[-1]
        return "direct" if via == _name(dst) and int(least) > 0 else "relayed"


def _name(node: str) -> str:
    """Return a node's name in the letters that tinc takes (tinc.conf(5), Name); no two nodes have the same."""
    if re.fullmatch(r"[A-Za-z0-9_]+", node):
        return node
    digest = hashlib.sha256(node.encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_]', '_', node)}_{digest[:8]}"


def _device(node: str) -> str:
    return device("tinc", node)


def _config(trial: Trial, node: str) -> str:
    server = server_of(trial)
    lines = [f"Name = {_name(node)}", "DeviceType = tun", f"Interface = {_device(node)}", "Mode = router"]
    lines += ["AddressFamily = ipv4", "PingInterval = 10", "PingTimeout = 3", "MaxTimeout = 1"]
    if node != server:
        lines.append(f"ConnectTo = {_name(server)}")
    return "\n".join(lines) + "\n"


def _host(trial: Trial, node: str, address: IPv4Address, key: rsa.RSAPrivateKey) -> str:
    server = server_of(trial)
    port = options_of(trial, TincOptions).port if node == server else PORT
    lines = [f"Subnet = {address}/32", f"Port = {port}"]
    if node == server:
        lines.append(f"Address = {trial.topology.address(node)} {port}")
    elif trial.mode == "relay":
        lines.append("IndirectData = yes")
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode()
    return "\n".join(lines) + "\n" + public


def _private(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def _service(node: str, address: IPv4Address, server: str) -> Service:
    ready = LogLine(pattern="Ready" if node == server else rf"Connection with {_name(server)} .* activated")
    return Service(
        name=f"tinc-{node}",
        node=node,
        argv=("tincd", "-D", "-d", "3", "-c", ".", "--pidfile=tinc.pid"),
        ready=(ready, InterfaceAddress(address=address)),
        after=() if node == server else (f"tinc-{server}",),
    )
