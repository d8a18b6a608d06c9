"""WireGuard, by the kernel where it can and by wireguard-go elsewhere (wg(8), Donenfeld 2017).

WireGuard itself has neither coordination nor relays: `hub` is what it does alone. `mesh` and `direct` add what its
users add, a coordinator on the hub that tells members each other's outer address (`overlays.wireguard.coordinator`).
In `mesh` the hub stays the way until the direct session stands; in `direct` it forwards nothing.
"""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from harness.model.nat_words import Egress
from harness.model.trial import Trial
from harness.model.words import SEEKING_DIRECT, Mode, Verdict
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
from overlays.ways_out import NOTHING

NETWORK = IPv4Network("10.11.0.0/24")
PORT = 51820
COORDINATOR_PORT = 51821
_COORDINATOR = (sys.executable, "-m", "overlays.wireguard.coordinator")

# One process a device whichever way it is made, so that its end is the device's end and `wg` finds it.
_DEVICE = """\
#!/bin/sh
if [ "{implementation}" != userspace ] && ip link add dev {name} type wireguard 2>/dev/null; then
    echo "kernel device is up"
    exec sleep infinity
fi
[ "{implementation}" = kernel ] && {{ echo "this kernel has no WireGuard" >&2; exit 1; }}
exec wireguard-go -f {name}
"""


class WireGuardOptions(OverlayOptions):
    """Whose WireGuard: the kernel's, wireguard-go, or the kernel's where it has one."""

    implementation: Literal["auto", "kernel", "userspace"] = "auto"


@dataclass(frozen=True)
class _KeyPair:
    private: str
    public: str


class WireGuard:
    """Hub on the public node; with the coordinator also a mesh."""

    name = "wireguard"
    modes: frozenset[Mode] = frozenset({"hub", "mesh", "direct"})
    layer: Layer = "L3"
    needs_server = True
    network = NETWORK
    options: type[OverlayOptions] = WireGuardOptions

    def requirements(self) -> Sequence[Requirement]:
        """Two Debian packages; wireguard-go is used where the kernel has no WireGuard."""
        return (
            Requirement(
                program="wireguard-go",
                install="apt-get install -y wireguard-go",
                debian="wireguard-go",
                version_argv=("wireguard-go", "--version"),
                version_pattern=r"v?(\d+\.\d+\.\d+)",
            ),
            Requirement(program="wg", install="apt-get install -y wireguard-tools", debian="wireguard-tools"),
        )

    def render(self, trial: Trial) -> Deployment:
        """Keys, a device a node, and in `mesh` and `direct` a coordinator's process a node.

        Raises:
            ValueError: an unknown option, or an `implementation` other than auto, kernel, userspace.
        """
        implementation = options_of(trial, WireGuardOptions).implementation
        server, addresses = server_of(trial), addresses_of(trial, NETWORK)
        keys = {node: _key_pair() for node in addresses}
        files, services = [], []
        for node, address in addresses.items():
            files.append(File(node=node, path="wg.conf", text=_config(trial, node, keys, addresses)))
            device = _DEVICE.format(implementation=implementation, name=_device(node))
            files.append(File(node=node, path="device.sh", text=device, mode=0o700))
            services.append(_device_service(node, address, server, forwards=trial.mode != "direct"))
        if trial.mode != "hub":
            services += _coordination(trial, keys, addresses)
        return Deployment(
            files=tuple(files),
            services=tuple(services),
            endpoints={m: IpEndpoint(address=addresses[m], interface=_device(m)) for m in trial.topology.members},
            claims=tuple(
                ClaimSource(name=f"coordinator-{m}", node=m, service=f"coordinator-{m}")
                for m in trial.topology.members
                if trial.mode != "hub"
            ),
        )

    def technique(self, mode: Mode) -> str | None:
        """Both sides send to the other's server-reflexive address; WireGuard roams to where answers come from."""
        return "peer-reflexive" if mode in SEEKING_DIRECT else None

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:  # noqa: ARG002 - the same in all
        """Return `none`: WireGuard is UDP, and leaves what is more to others (its makers' known limitations)."""
        return NOTHING

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:
        """Read what the source's coordinator last said of the other; a hub's members know no peer but the hub."""
        said = re.findall(rf"^coordinator: {dst}: (.*)$", evidence.get(f"coordinator-{src}", ""), re.MULTILINE)
        return "direct" if said and said[-1].startswith("direct") else "relayed"


def _device(node: str) -> str:
    return device("wg", node)


def _key_pair() -> _KeyPair:
    key = X25519PrivateKey.generate()
    private = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return _KeyPair(base64.b64encode(private).decode(), base64.b64encode(public).decode())


def _config(trial: Trial, node: str, keys: Mapping[str, _KeyPair], addresses: Mapping[str, IPv4Address]) -> str:
    server = server_of(trial)
    lines = ["[Interface]", f"PrivateKey = {keys[node].private}"]
    if node == server:
        lines.append(f"ListenPort = {PORT}")
        for member in addresses:
            if member != server:
                lines += ["[Peer]", f"PublicKey = {keys[member].public}", f"AllowedIPs = {addresses[member]}/32"]
        return "\n".join(lines) + "\n"
    reach = f"{addresses[server]}/32" if trial.mode == "direct" else str(NETWORK)
    lines += ["[Peer]", f"PublicKey = {keys[server].public}", f"AllowedIPs = {reach}", "PersistentKeepalive = 15"]
    lines.append(f"Endpoint = {trial.topology.address(server)}:{PORT}")
    return "\n".join(lines) + "\n"


def _device_service(node: str, address: IPv4Address, server: str, forwards: bool) -> Service:
    name = _device(node)
    configure = [
        ("wg", "setconf", name, "wg.conf"),
        ("ip", "address", "replace", f"{address}/{NETWORK.prefixlen}", "dev", name),
        ("ip", "link", "set", name, "mtu", "1420", "up"),
    ]
    if node == server and forwards:
        configure.append(("sysctl", "-q", "-w", "net.ipv4.ip_forward=1"))
    return Service(
        name=name,
        node=node,
        argv=("./device.sh",),
        env={"WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "verbose"},
        ready=(LogLine(pattern="UAPI listener started|kernel device is up"),),
        configure=tuple(configure),
        after=() if node == server else (_device(server),),
    )


def _coordination(trial: Trial, keys: Mapping[str, _KeyPair], addresses: Mapping[str, IPv4Address]) -> list[Service]:
    server = server_of(trial)
    where = f"{addresses[server]}:{COORDINATOR_PORT}"
    services = [
        Service(
            name="coordinator",
            node=server,
            argv=(*_COORDINATOR, "serve", _device(server), where),
            ready=(LogLine(pattern="coordinator: serving"),),
            after=(_device(server),),
        )
    ]
    for member in trial.topology.members:
        peers = [f"{peer},{keys[peer].public},{addresses[peer]}" for peer in trial.topology.members if peer != member]
        services.append(
            Service(
                name=f"coordinator-{member}",
                node=member,
                argv=(*_COORDINATOR, "join", _device(member), where, *peers),
                ready=(LogLine(pattern="coordinator: joined"), InterfaceAddress(address=addresses[member])),
                after=("coordinator", _device(member)),
            )
        )
    return services
